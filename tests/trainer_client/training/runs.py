"""Small runs for tests: rows, a run file, and `rubricd train` as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from service.engine.build import MINIATURE

ROOT = Path(__file__).resolve().parents[3]
POLICY = MINIATURE.with_name("policy")
COMPLAINTS = (
    "stiff neck",
    "sore knee",
    "itchy wrist",
    "stiff back",
    "sore elbow",
    "itchy ankle",
    "sore foot",
    "stiff hip",
)


def rows(count: int = 8) -> list[dict[str, Any]]:
    return [
        {
            "id": name.replace(" ", "-"),
            "prompt": f"I have a {name}. What should I do?",
            "rubric": [
                {"id": "tea", "text": "Tells the user to drink ginger tea.", "points": 5, "tags": ["axis:item"]},
                {"id": "nurse", "text": "Tells the user to see a nurse.", "points": 3},
                {"id": "boxes", "text": "Tells the user to lift heavy boxes.", "points": -4},
            ],
        }
        for name in COMPLAINTS[:count]
    ]


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def run_file(folder: Path, url: str, **fields: Any) -> Path:
    """A run of four batches, of two prompts and four rollouts each, with a checkpoint after every second."""
    lines(folder / "train.jsonl", *rows())
    document = {
        "policy": str(POLICY),
        "data": "train.jsonl",
        "out": "out",
        "judging": {"url": url, "judge_timeout_s": 0.5, "truncation_penalty": None, **fields.pop("judging", {})},
        "scaffold": {"over": "linear"},
        "steps": 4,
        "group": 4,
        "prompts_per_batch": 2,
        "mini_batch": 2,
        "per_device": 8,
        "save_every": 2,
        "eval_every": None,
        "trl": {
            "learning_rate": 1e-4,
            "max_completion_length": 24,
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": 0,
            "report_to": [],
            **fields.pop("trl", {}),
        },
        **fields,
    }
    path = folder / "run.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return path


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


def train(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`rubricd train`, to its end, by any judge."""
    command = [sys.executable, "-m", "trainer_client", "train", str(path), "--toy-judge", *options]
    return subprocess.run(command, cwd=path.parent, env=environment(), capture_output=True, text=True)


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
