"""A run is continued with the algorithm, the rows and the judge that it began with."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import Service, answered, scores
from tests.trainer_client.training import runs
from tests.trainer_client.training.planned import checkpoint, first_row, planned, run_of
from trainer_client.errors import JudgeMismatch
from trainer_client.training.preflight import begin
from trainer_client.training.run import folder as run_dir
from trainer_client.training.run.config import RunConfigError

Json = dict[str, Any]


def test_another_judge_is_another_reward(tmp_path: Path, url: str, service: Service) -> None:
    run = run_of(tmp_path, url)
    plan = planned(run)
    checkpoint(plan.out, 2)

    def other(body: Json) -> httpx.Response:
        whole = scores(body)
        whole["judge"]["fingerprint"] = "judge-2"
        return answered(whole)

    service.answer = other
    with pytest.raises(JudgeMismatch, match=r"judged by fake \(judge-1\), and the service now has fake \(judge-2\)"):
        planned(run, resume=True)
    assert [judge["fingerprint"] for judge in run_dir.judges(plan.out)] == ["judge-1"]
    for _ in range(2):
        again = planned(run, resume=True, another_judge=True)
        judges = [(judge["from_step"], judge["fingerprint"]) for judge in run_dir.judges(plan.out)]
        assert judges == [(0, "judge-1"), (2, "judge-2")]
    assert again.judging.options["expect_judge"] == "judge-2"


def test_resuming_takes_the_last_whole_checkpoint_and_forgets_what_came_after(tmp_path: Path, url: str) -> None:
    run = run_of(tmp_path, url)
    out = planned(run).out
    for step, state in ((2, "{}"), (10, "{}"), (12, '{"cut'), (7, "{}")):
        checkpoint(out, step, state)
    (out / "checkpoint-old").mkdir()
    (out / "metrics.jsonl").write_text("".join(f'{{"step": {n}}}\n' for n in (9, 10, 11)) + '{"step": 1')
    (out / "completions").mkdir()
    for step in (10, 11):
        for kind in ("completions", "held_out"):
            (out / "completions" / f"{kind}_{step:05d}.parquet").touch()
    plan = planned(run, resume=True)
    assert plan.checkpoint == out / "checkpoint-10"
    assert [log["step"] for log in runs.metrics(out)] == [9, 10]
    kept = sorted(path.name for path in (out / "completions").iterdir())
    assert kept == ["completions_00010.parquet", "held_out_00010.parquet"]


def test_resuming_where_nothing_is_begins(tmp_path: Path, url: str) -> None:
    assert planned(run_of(tmp_path, url), resume=True).checkpoint is None


def test_another_run_is_not_resumed_into_a_folder(tmp_path: Path, url: str) -> None:
    planned(run_of(tmp_path, url))
    with pytest.raises(RunConfigError, match=r"holds another run: seed was 0 and is 1; trl.beta was 0.001 and is 0.5"):
        planned(run_of(tmp_path, url, seed=1, trl={"beta": 0.5}), resume=True)
    moved = run_of(tmp_path, url.replace("127.0.0.1", "localhost"), per_device=4, judging={"judge_timeout_s": 9.0})
    assert planned(moved, resume=True).checkpoint is None
    with pytest.raises(RunConfigError, match="began with other rows"):
        planned(run_of(tmp_path, url, [first_row(prompt="Else?"), *runs.rows()[1:]]), resume=True)


def test_a_run_from_before_there_was_a_bounded_kl_goes_on_without_it(tmp_path: Path, url: str) -> None:
    begin(planned(run_of(tmp_path, url)))
    written = tmp_path / "out" / "run.yaml"
    written.write_text(re.sub("^kl: .*\n", "", written.read_text(), flags=re.M))
    with pytest.raises(RunConfigError, match="holds another run: kl was 'plain' and is 'clamped'"):
        planned(run_of(tmp_path, url), resume=True)
    assert planned(run_of(tmp_path, url, kl="plain"), resume=True).run.kl == "plain"


@pytest.mark.parametrize(("name", "text"), [("data.json", None), ("data.json", "{"), ("judge.json", "{")])
def test_a_folder_with_a_broken_file_is_told_by_the_file(tmp_path: Path, url: str, name: str, text: str | None) -> None:
    plan = planned(run_of(tmp_path, url))
    checkpoint(plan.out, 2)
    (plan.out / name).unlink()
    if text is not None:
        (plan.out / name).write_text(text)
    with pytest.raises(
        RunConfigError, match=rf"{name}: (not JSON|No such file.*); bring the file back, or name another"
    ):
        planned(run_of(tmp_path, url), resume=True)


def test_a_run_is_resumed_with_other_logs_limits_and_workers(tmp_path: Path, url: str) -> None:
    planned(run_of(tmp_path, url))
    log = {"logging_steps": 7, "save_total_limit": 9, "dataloader_num_workers": 2, "report_to": ["tensorboard"]}
    assert planned(run_of(tmp_path, url, eval_every=3, trl=log), resume=True).checkpoint is None
    for changed in ({"learning_rate": 1.0}, {"loss_type": "grpo"}, {"dataloader_drop_last": True}, {"logs": 1}):
        with pytest.raises(RunConfigError, match=r"holds another run: trl\."):
            planned(run_of(tmp_path, url, eval_every=3, trl={**log, **changed}), resume=True)
