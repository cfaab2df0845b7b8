"""Reads and writes the folder of a training run, and decides whether a training may continue in it.

    run.yaml          the run config with every field
    data.json         the number of rows, and a digest of them in their order
    judge.json        the judges that gave the rewards, and the examiners, each with its first step
    metrics.jsonl     a line for each log
    rubrics.jsonl     a line for each change of an evolving rubric
    proposals.jsonl   what the proposer of an evolving rubric answered, which is not asked for again
    completions/      TRL's tables of rollouts: completions_N of a training's batch, held_out_N of an evaluation
    checkpoint-N/     TRL's checkpoints, N in optimiser steps
    policy/           the trained policy, or its adapter
    report.html

Guarantees: a run continues with the algorithm, the rows and the judge that it began with. Another judge is accepted if
the caller says so, and judge.json records it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from trainer_client.data.rows import Row
from trainer_client.training import yaml_fields
from trainer_client.training.run import config as run_config
from trainer_client.training.run.config import RunConfig, RunConfigError
from trainer_client.whole_file import write_whole

CHECKPOINT, STATE = "checkpoint-", "trainer_state.json"
JOURNAL, RUBRICS = "proposals.jsonl", "rubrics.jsonl"
_MAY_CHANGE = {
    *("out", "data", "eval_data", "rubric_folder", "ledger", "sft.only", "per_device", "pipeline_parts", "save_every"),
    *("judging.url", "judging.token_env", "judging.judge_timeout_s", "judging.concurrency", "judging.timeout_s"),
    *("judging.max_missing_fraction", "judging.priority", "judging.expect_judge"),
    *("watch.stop", "watch.false_alarms"),
    *("evolving.proposer.url", "evolving.proposer.token_env", "evolving.proposer.concurrency"),
    *("eval_every", "trl.save_total_limit", "trl.disable_tqdm", "trl.num_completions_to_print", "trl.ddp_timeout"),
    *("trl.dataloader_num_workers", "trl.dataloader_prefetch_factor", "trl.dataloader_persistent_workers"),
    *("trl.dataloader_pin_memory", "trl.gradient_checkpointing", "trl.torch_empty_cache_steps", "trl.push_to_hub"),
    *("trl.report_to", "trl.run_name", "trl.project", "trl.vllm_gpu_memory_utilization", "trl.vllm_enable_sleep_mode"),
}
_MAY_CHANGE_BEFORE = ("trl.logging_", "trl.log_", "trl.hub_", "trl.trackio_", "trl.vllm_server_")
"""Fields, and beginnings of fields, that change neither the algorithm nor the order. Rows have their digest."""

Judges = list[dict[str, Any]]
Kind = Literal["judges", "examiners"]


def checkpoint(out: Path) -> Path | None:
    """The last complete checkpoint: TRL writes its state file last."""
    found = [path for path in out.glob(f"{CHECKPOINT}*") if path.name.removeprefix(CHECKPOINT).isdigit()]
    whole = [path for path in found if _is_json(path / STATE)]
    return max(whole, key=step_of, default=None)


def step_of(path: Path) -> int:
    """The optimiser step of a checkpoint."""
    return int(path.name.removeprefix(CHECKPOINT))


def digest(rows: Sequence[Row]) -> dict[str, Any]:
    """The number of rows, and the SHA-256 of all rows in their order."""
    summed = hashlib.sha256()
    for row in rows:
        rubric = None if row.rubric is None else row.rubric.model_dump(mode="json")
        private = [row.documents] if row.documents else []  # of rows without, the digest is what it always was
        text = json.dumps([row.id, row.messages, rubric, row.reference, *private], ensure_ascii=False, sort_keys=True)
        summed.update(f"{len(text)}:{text}".encode())
    return {"rows": len(rows), "sha256": summed.hexdigest()}


def check_same(out: Path, run: RunConfig, data: Mapping[str, Any]) -> None:
    """Raises RunConfigError where the folder holds another run."""
    first = run_config.read(out / "run.yaml")
    before, now = dict(flat(first.model_dump(mode="json"))), dict(flat(run.model_dump(mode="json")))
    if "kl" not in yaml_fields.loaded(out / "run.yaml"):
        before["kl"] = "plain"  # the run began before there was another
    changed = [
        f"{place} was {before.get(place)!r} and is {now.get(place)!r}"
        for place in sorted(before.keys() | now.keys())
        if before.get(place) != now.get(place) and not _may_change(place)
    ]
    if changed:
        raise RunConfigError(f"{out} holds another run: {'; '.join(changed)}. Undo that, or name another --out")
    if _read_json(out / "data.json") != data:
        raise RunConfigError(f"{out} began with other rows than {', '.join(run.data)} holds now; bring those rows back")


def _may_change(place: str) -> bool:
    place = place.replace("examiner.", "judging.")
    return place in _MAY_CHANGE or place.startswith(_MAY_CHANGE_BEFORE)


def judges(out: Path, kind: Kind = "judges") -> Judges:
    """The judges that gave the rewards, or the examiners, each with `from_step`; empty before the first."""
    return _judges(out).get(kind, [])


def _judges(out: Path) -> dict[str, Judges]:
    path = out / "judge.json"
    found: dict[str, Judges] = _read_json(path) if path.exists() else {}
    return found


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else "not JSON"
        raise RunConfigError(f"{path}: {what}; bring the file back, or name another --out") from None


def start(out: Path, run: RunConfig, data: Mapping[str, Any]) -> None:
    """Makes the folder and writes run.yaml and data.json. What ended an earlier attempt did not end this one."""
    out.mkdir(parents=True, exist_ok=True)
    for path in out.glob("error*.txt"):
        path.unlink()
    write_whole(out / "run.yaml", run_config.written(run))
    write_whole(out / "data.json", json.dumps(dict(data), indent=1))


def write_judge(out: Path, judge: Mapping[str, Any], step: int, kind: Kind = "judges") -> None:
    """Records that this judge is the one from `step` on."""
    known = [one for one in judges(out, kind) if one["from_step"] < step or step == 0]
    same = bool(known) and {**known[-1], "from_step": 0} == {**judge, "from_step": 0}
    now = known if same else [*(known if step else []), {"from_step": step, **judge}]
    write_whole(out / "judge.json", json.dumps({**_judges(out), kind: now}, indent=1, ensure_ascii=False))


def drop_after(out: Path, step: int) -> None:
    """Removes the logs after this step, because the run repeats these steps."""
    for path in (out / "metrics.jsonl", out / RUBRICS):
        if not path.exists():
            continue
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step(line) <= step]
        write_whole(path, "".join(f"{line}\n" for line in kept))
    for table in (out / "completions").glob("*_*.parquet"):
        if int(table.stem.rpartition("_")[2]) > step:
            table.unlink()


def _step(line: str) -> float:
    """The step of a line of metrics.jsonl; infinity for a line that is cut off."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return float("inf")


def flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Each field of nested objects with its place, as `judging.url`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{place}.{key}" if place else key)
    else:
        yield place, value


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True
