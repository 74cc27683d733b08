"""Writes gold.jsonl, the first ten rows of each label of banking77's training set, and inputs.jsonl, the others without
their labels, beside this file."""

import json
import pathlib

here = pathlib.Path(__file__).resolve().parent
train = here / "../../../../shared/data/banking77/train.jsonl"
seen = {}
with open(train) as rows, open(here / "gold.jsonl", "w") as gold, open(here / "inputs.jsonl", "w") as inputs:
    for line in rows:
        row = json.loads(line)
        seen[row["output"]] = seen.get(row["output"], 0) + 1
        if seen[row["output"]] <= 10:
            gold.write(line)
        else:
            inputs.write(json.dumps({"input": row["input"]}) + "\n")
