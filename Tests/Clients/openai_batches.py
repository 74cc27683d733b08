"""The official openai client's files and batches against `understudy teacher-simulator --rule choice:a,b,c
--batch-seconds 0.5 --expiring-batches 1`: python3 openai_batches.py http://127.0.0.1:PORT/v1"""
import io
import json
import sys
import time

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
model = client.models.list().data[0].id
lines = [
    {"custom_id": f"row {number}", "method": "POST", "url": "/v1/chat/completions",
     "body": {"model": model, "messages": [{"role": "user", "content": f"question {number}"}], "max_tokens": 8}}
    for number in range(20)]
content = "\n".join(json.dumps(line) for line in lines).encode()
file = client.files.create(file=("requests.jsonl", io.BytesIO(content)), purpose="batch")
assert file.purpose == "batch" and client.files.retrieve(file.id).filename == "requests.jsonl"
assert client.files.content(file.id).read() == content


def finished(mark):
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"mark": mark})
    assert batch.status == "in_progress" and batch.output_file_id is None and batch.metadata == {"mark": mark}
    while batch.status == "in_progress":
        time.sleep(0.05)
        batch = client.batches.retrieve(batch.id)
    return batch


def rows(id):
    return [json.loads(line) for line in client.files.content(id).text.splitlines()] if id else []


expired = finished("first")
assert expired.status == "expired" and expired.request_counts.completed == 10 and expired.request_counts.failed == 10
assert {row["error"]["code"] for row in rows(expired.error_file_id)} == {"batch_expired"}
whole = finished("second")
assert whole.status == "completed" and whole.request_counts.completed == 20 and whole.error_file_id is None
answers = rows(whole.output_file_id)
assert [row["custom_id"] for row in answers] == [line["custom_id"] for line in lines]
assert all(row["response"]["body"]["choices"][0]["message"]["content"] in "abc" for row in answers)
alone = client.chat.completions.create(**lines[3]["body"]).choices[0].message.content
assert alone == answers[3]["response"]["body"]["choices"][0]["message"]["content"]
assert [batch.id for batch in client.batches.list(limit=1)] == [whole.id, expired.id]
cancelled = client.batches.cancel(client.batches.create(
    input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h").id)
assert cancelled.status == "cancelled" and cancelled.output_file_id is None
for wrong in (lambda: client.files.retrieve("file-none"), lambda: client.batches.retrieve("batch_none")):
    try:
        wrong()
        raise AssertionError("what does not exist was found")
    except openai.NotFoundError:
        pass
print("ok: files and batches")
