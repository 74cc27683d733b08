/// The page of the review: one file, nothing from elsewhere. Texts of rows are set as text, never as markup.
enum ReviewPage {
    static func html(token: String) -> String {
        """
        <!DOCTYPE html>
        <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="token" content="\(token)"><title>Review</title><style>\(style)</style></head>
        <body><main>
        <header><h1 id="task">Review</h1><p id="instruction"></p>
        <div class="bar" role="progressbar" aria-label="rows decided"><span id="done"></span></div>
        <p class="soft" id="count" aria-live="polite"></p></header>
        <section id="row" hidden>
        <p class="soft"><span id="reason"></span></p>
        <pre id="input"></pre>
        <div id="choices" role="group" aria-label="answers"></div>
        <form id="other"><label for="text" id="label">Another answer</label>
        <input id="text" list="labels" autocomplete="off" spellcheck="false"><textarea id="area" rows="4" hidden></textarea>
        <datalist id="labels"></datalist><button>Save</button></form>
        <p class="problem" id="problem" role="alert"></p>
        </section>
        <section id="end" hidden><h2>Nothing is left to review.</h2>
        <p>Your decisions stand at the end of <code id="file"></code>. Run <code>understudy run</code> to learn from them.</p></section>
        <footer class="soft"><kbd>Enter</kbd> the answer is right · <kbd>1</kbd>–<kbd>5</kbd> choose ·
        <kbd>/</kbd> write another · <kbd>→</kbd> later · <kbd>←</kbd> back</footer>
        </main><script>\(script)</script></body></html>
        """
    }

    private static let style = """
        :root{--ink:#1c2024;--soft:#5c6670;--line:#d9dee3;--page:#fff;--own:#eef4fb;--accent:#1f5fa8;--bad:#a3341f}
        @media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa5af;--line:#363d44;--page:#15181b;--own:#1d2833;--accent:#7db3ee;--bad:#f0957f}}
        *{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
        main{max-width:46rem;margin:0 auto;padding:2rem 1.25rem 4rem}h1{font-size:1.4rem;margin:0}
        #instruction{color:var(--soft);margin:.25rem 0 1rem;max-height:6rem;overflow:auto}.soft{color:var(--soft);font-size:.9rem}
        .bar{height:.35rem;background:var(--line);border-radius:.2rem;overflow:hidden}.bar span{display:block;height:100%;width:0;background:var(--accent)}
        pre{white-space:pre-wrap;overflow-wrap:anywhere;font:1.25rem/1.45 system-ui,sans-serif;margin:.5rem 0 1.25rem;max-height:40vh;overflow:auto}
        #choices{display:grid;gap:.4rem}#choices button{display:flex;gap:.8rem;text-align:left;width:100%;align-items:baseline;overflow-wrap:anywhere}
        button,input,textarea{font:inherit;color:inherit;background:var(--page);border:1px solid var(--line);border-radius:.35rem;padding:.5rem .75rem}
        button{cursor:pointer}button:hover,button:focus-visible,input:focus-visible,textarea:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
        #choices button:first-child{background:var(--own);border-color:var(--accent)}#choices .chosen::after{content:"chosen";margin-left:auto;color:var(--accent)}
        form{display:flex;gap:.5rem;margin-top:1rem;flex-wrap:wrap;align-items:center}form label{color:var(--soft);flex-basis:100%;font-size:.9rem}
        form input,form textarea{flex:1;min-width:12rem}.problem{color:var(--bad);min-height:1.5em}
        kbd{border:1px solid var(--line);border-radius:.25rem;padding:0 .35rem;font:.85em ui-monospace,monospace}footer{margin-top:1.5rem}
        """

    private static let script = """
        const token=document.querySelector('meta[name=token]').content,$=id=>document.getElementById(id);
        let state,place=0,busy=false;
        const reasons={gold:'The gold says so; a model of the other gold would not.',unsure:'Not sure of this answer.',synthetic:'Made up; its teacher is not sure of the answer.'};
        async function call(path,body){
          const answer=await fetch(path,{method:body?'POST':'GET',headers:{'X-Review-Token':token,'Content-Type':'application/json'},body:body&&JSON.stringify(body)});
          const value=await answer.json();
          if(!answer.ok)throw new Error(value.error?value.error.message:'The program refused.');
          return value;
        }
        function field(){return state.kind==='label'?$('text'):$('area')}
        function choices(item){return [item.answer,...item.others]}
        function show(){
          const done=Object.keys(state.decisions).length,item=state.items[place];
          $('done').style.width=(state.items.length?100*done/state.items.length:100)+'%';
          $('count').textContent=done+' of '+state.items.length+' rows decided';
          $('row').hidden=!item;$('end').hidden=!!item;$('problem').textContent='';
          if(!item)return;
          $('reason').textContent='Row '+(place+1)+'. '+reasons[item.reason]+' Probability of the first answer: '+Math.round(100*item.confidence)+' %'+(item.reason==='gold'?'.':' ('+item.by+').');
          $('input').textContent=item.input;
          $('choices').replaceChildren(...choices(item).map((answer,number)=>{
            const button=document.createElement('button'),key=document.createElement('kbd'),text=document.createElement('span');
            key.textContent=number+1;text.textContent=answer;button.append(key,text);
            if(state.decisions[item.id]===answer)button.className='chosen';
            button.onclick=()=>decide(answer);return button;
          }));
          field().value=state.kind==='label'?'':(state.decisions[item.id]??item.answer);
          if(document.activeElement!==document.body)document.activeElement.blur();
        }
        function next(){
          const rest=state.items.findIndex((item,number)=>number>place&&!(item.id in state.decisions));
          place=rest>=0?rest:state.items.findIndex(item=>!(item.id in state.decisions));
          if(place<0)place=state.items.length;
        }
        async function decide(output){
          const item=state.items[place];
          if(busy||!item)return;
          busy=true;
          try{
            await call('/decisions',{id:item.id,output});
            state.decisions[item.id]=output;next();show();
          }catch(error){$('problem').textContent=error.message}
          busy=false;
        }
        $('other').onsubmit=event=>{event.preventDefault();const value=field().value;if(value.trim())decide(state.kind==='label'?value.trim():value)};
        document.addEventListener('keydown',event=>{
          // A key held down decides one row.
          if(event.ctrlKey||event.metaKey||event.altKey||event.repeat||!state)return;
          const target=event.target,writes=target===$('text')||target===$('area');
          if(event.key==='Escape'){target.blur();return}
          if(writes||target.tagName==='BUTTON'&&(event.key==='Enter'||event.key===' '))return;
          const item=state.items[place];
          if(event.key==='ArrowLeft'&&place>0){place--;show()}
          else if(event.key==='ArrowRight'&&place<state.items.length){place++;show()}
          else if(event.key==='Enter'&&item)decide(item.answer);
          else if(event.key==='/'&&item)field().focus();
          else if(item&&/^[1-9]$/.test(event.key)&&choices(item)[event.key-1]!==undefined)decide(choices(item)[event.key-1]);
          else return;
          event.preventDefault();
        });
        (async()=>{
          try{
            state=await call('/items');
            $('task').textContent=state.task;$('instruction').textContent=state.instruction;$('file').textContent=state.file;
            document.title='Review: '+state.task;
            const isLabel=state.kind==='label';$('text').hidden=!isLabel;$('area').hidden=isLabel;
            $('label').htmlFor=isLabel?'text':'area';
            $('labels').replaceChildren(...state.labels.map(label=>{const option=document.createElement('option');option.value=label;return option}));
            place=-1;next();show();
          }catch(error){$('row').hidden=false;$('problem').textContent=error.message}
        })();
        """
}
