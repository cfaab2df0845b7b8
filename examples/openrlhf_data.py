"""Writes OpenRLHF's prompts, whose label is the rubric, and prints its settings.

python examples/openrlhf_data.py http://127.0.0.1:8000 runs/openrlhf.jsonl
"""

import json
import sys
from pathlib import Path

url, out = sys.argv[1:]
Path(out).parent.mkdir(parents=True, exist_ok=True)
with open(out, "w", encoding="utf-8") as file:
    for line in Path(__file__).with_name("rows.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        # The prompt is in the label too: the judge reads it there, without the policy's chat template.
        label = json.dumps({"prompt": row["prompt"], "rubric": row["rubric"]})
        file.write(json.dumps({"input": [{"role": "user", "content": row["prompt"]}], "label": label}) + "\n")
print(
    f"--data.prompt_dataset {out} --data.input_key input --data.label_key label --data.apply_chat_template "
    f"--reward.remote_url {url}/get_reward"
)
