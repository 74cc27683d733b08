"""The official openai client against `understudy serve`: python3 openai_client.py http://127.0.0.1:PORT/v1"""
import concurrent.futures
import json
import math
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
model = client.models.list().data[0].id
assert client.models.retrieve(model).id == model
ask = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
done = 0


def test(check):
    global done
    check()
    done += 1
    print("ok", check.__name__)


@test
def whole_is_streamed():
    whole = client.chat.completions.create(model=model, messages=ask, max_tokens=24, temperature=0)
    parts = list(client.chat.completions.create(
        model=model, messages=ask, max_tokens=24, temperature=0, stream=True, stream_options={"include_usage": True}))
    text = "".join(p.choices[0].delta.content or "" for p in parts if p.choices)
    assert text == whole.choices[0].message.content and text, (text, whole)
    assert parts[0].choices[0].delta.role == "assistant"
    assert [p.choices[0].finish_reason for p in parts if p.choices][-1] == whole.choices[0].finish_reason
    assert parts[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


@test
def seeds_reproduce():
    def once(seed):
        return client.chat.completions.create(
            model=model, messages=ask, max_tokens=20, temperature=1.2, seed=seed).choices[0].message.content
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(once, [1, 2, 1, 3, 1, 2, 4, 1]))
    assert answers[0] == answers[2] == answers[4] == answers[7] and answers[1] == answers[5]
    assert len(set(answers)) >= 3, answers


@test
def several_choices():
    r = client.chat.completions.create(model=model, messages=ask, max_tokens=12, n=4, temperature=1.3, seed=5)
    assert [c.index for c in r.choices] == [0, 1, 2, 3]
    assert len({c.message.content for c in r.choices}) > 1
    chunks = client.chat.completions.create(
        model=model, messages=ask, max_tokens=12, n=4, temperature=1.3, seed=5, stream=True)
    texts = ["", "", "", ""]
    for chunk in chunks:
        for c in chunk.choices:
            texts[c.index] += c.delta.content or ""
    assert texts == [c.message.content for c in r.choices]


@test
def stops():
    whole = client.chat.completions.create(model=model, messages=ask, max_tokens=24, temperature=0)
    text = whole.choices[0].message.content
    stop = text[6:10]
    cut = client.chat.completions.create(model=model, messages=ask, max_tokens=24, temperature=0, stop=["zzz", stop])
    assert cut.choices[0].message.content == text[:text.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


@test
def log_probabilities():
    r = client.chat.completions.create(
        model=model, messages=ask, max_tokens=8, temperature=0, logprobs=True, top_logprobs=3)
    content = r.choices[0].logprobs.content
    assert len(content) == r.usage.completion_tokens
    for token in content:
        assert len(token.top_logprobs) == 3 and abs(token.top_logprobs[0].logprob - token.logprob) < 1e-3
        assert bytes(token.bytes).decode(errors="replace") == token.token
    r = client.completions.create(
        model=model, prompt="The capital of France is", max_tokens=3, temperature=0, echo=True, logprobs=2)
    l = r.choices[0].logprobs
    assert l.token_logprobs[0] is None and len(l.tokens) == 8 and "".join(l.tokens) == r.choices[0].text
    assert all(math.isfinite(x) for x in l.token_logprobs[1:])


@test
def structured_outputs():
    schema = {
        "type": "object", "additionalProperties": False, "required": ["city", "people", "kind"],
        "properties": {
            "city": {"type": "string", "maxLength": 30}, "people": {"type": "integer", "minimum": 1, "maximum": 99999999},
            "kind": {"enum": ["capital", "town"]}}}
    r = client.chat.completions.create(
        model=model, messages=ask, max_tokens=80, temperature=0.8, seed=1, n=3,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}})
    for choice in r.choices:
        value = json.loads(choice.message.content)
        assert set(value) == {"city", "people", "kind"} and 1 <= value["people"] <= 99999999
        assert value["kind"] in ("capital", "town") and len(value["city"]) <= 30
    r = client.chat.completions.create(
        model=model, messages=ask, max_tokens=60, temperature=0, response_format={"type": "json_object"})
    assert r.choices[0].message.content.startswith("{")
    r = client.chat.completions.create(
        model=model, messages=ask, max_tokens=60, extra_body={"response_format": {"type": "regex", "regex": "(yes|no)!"}})
    assert r.choices[0].message.content in ("yes!", "no!")


@test
def bias_and_penalties():
    first = client.completions.create(model=model, prompt="The", max_tokens=1, temperature=0, logprobs=0)
    assert first.choices[0].text
    biased = client.completions.create(model=model, prompt="The", max_tokens=4, temperature=1, logit_bias={"100": 100})
    assert len(set(biased.choices[0].text[i] for i in range(1))) == 1
    client.completions.create(
        model=model, prompt="a a a a", max_tokens=8, presence_penalty=1.5, frequency_penalty=1.5, temperature=0.5)


@test
def prompts_of_all_kinds():
    one = client.completions.create(model=model, prompt="Once upon", max_tokens=5, temperature=0)
    two = client.completions.create(model=model, prompt=["Once upon", "1, 2, 3,"], max_tokens=5, temperature=0)
    assert two.choices[0].text == one.choices[0].text and len(two.choices) == 2
    tokens = client.completions.create(model=model, prompt=[100, 200, 300], max_tokens=5, temperature=0, echo=True)
    assert tokens.choices[0].text


@test
def errors_say_what_is_wrong():
    def fails(kind, words, **body):
        try:
            client.chat.completions.create(**{**dict(model=model, messages=ask), **body})
        except kind as error:
            assert words in str(error), error
            return
        raise AssertionError(f"accepted: {body}")
    fails(openai.NotFoundError, "does not exist", model="gpt-9")
    fails(openai.BadRequestError, "temperature", temperature=3)
    fails(openai.BadRequestError, "messages", messages=[])
    fails(openai.BadRequestError, "top_logprobs", top_logprobs=3)
    fails(openai.BadRequestError, "'objekt' is no type", response_format={
        "type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objekt"}}})
    fails(openai.BadRequestError, "tools", tools=[{"type": "function", "function": {"name": "f"}}])
    fails(openai.BadRequestError, "tokens", messages=[{"role": "user", "content": "word " * 20000}])


@test
def cancelled_streams_free_their_place():
    for _ in range(20):
        stream = client.chat.completions.create(model=model, messages=ask, max_tokens=400, temperature=1, stream=True)
        for index, _ in enumerate(stream):
            if index == 3:
                break
        stream.close()
    whole = client.chat.completions.create(model=model, messages=ask, max_tokens=4, temperature=0)
    assert whole.choices[0].message.content


print(done, "checks passed")
