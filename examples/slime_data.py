"""Writes slime's prompts, whose label is the rubric, and prints its arguments.

python examples/slime_data.py http://127.0.0.1:8000 runs/slime.jsonl
"""

import json
import sys
from pathlib import Path

url, out = sys.argv[1:]
Path(out).parent.mkdir(parents=True, exist_ok=True)
with open(out, "w", encoding="utf-8") as file:
    for line in Path(__file__).with_name("rows.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        label = json.dumps({"prompt": row["prompt"], "rubric": row["rubric"]})
        file.write(json.dumps({"prompt": [{"role": "user", "content": row["prompt"]}], "label": label}) + "\n")
print(
    f"--prompt-data {out} --input-key prompt --label-key label --apply-chat-template "
    f"--rm-type remote_rm --rm-url {url}/rm?reply=object --reward-key reward"
)
