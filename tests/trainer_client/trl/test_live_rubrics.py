"""Criteria that are proposed from a group's answers count for it, stay or leave by its verdicts, and survive a kill."""

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from testkit.scripted_judge import Service, answered, chance, scores, served
from tests.trainer_client.trl.test_processes import GROUP, happened, killing, plan
from tests.trainer_client.trl.tiny import EVEN, Recorder, configured, judged_by, rows
from tests.trainer_client.trl.training_run import Running
from trainer_client.live_rubrics.dropout import RubricDropout
from trainer_client.live_rubrics.evolution import Evolution, rollout_hash
from trainer_client.live_rubrics.pass_rates import PassRates
from trainer_client.live_rubrics.proposer import FunctionProposer
from trainer_client.reward_client import JudgeConfig
from trainer_client.scaffold import Scaffold, Schedule
from trainer_client.trl.live_rubrics import Evolving, LiveRubrics, LiveState
from trainer_client.trl.trainer import build

ROWS = rows(2, criteria=5)
Json = dict[str, Any]


def _lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _trained(out: Path, policy: str, propose: Any, evolution: Evolution, steps: int = 2, **more: Any) -> Any:
    evolving = Evolving(
        evolution, FunctionProposer("scripted", propose), out / "proposals.jsonl", out / "rubrics.jsonl"
    )
    with judged_by(by_criteria=True) as (judging, service):
        config = configured(out, log_completions=True, steps=steps)
        order = [*ROWS] * steps
        trainer = build(policy, order, judging=judging, config=config, scaffold=EVEN, evolving=evolving, **more)
        Recorder().watch(trainer).train()
    tables = sorted((out / "completions").glob("*.parquet"))
    return trainer, [pq.read_table(one).to_pydict() for one in tables], service


def test_a_proposal_counts_for_its_own_group_and_stays_where_it_tells_answers_apart(
    tmp_path: Path, policy: str
) -> None:
    asked: list[Json] = []

    def propose(**told: Any) -> list[Json]:
        asked.append(told)
        n = len(asked)
        return [{"text": f"Asks {n}.", "kind": "positive"}, {"text": f"Praises itself {n} times.", "kind": "anti_hack"}]

    evolution = Evolution(every=2, drift=0.4, promote=0.1)
    trainer, tables, service = _trained(tmp_path, policy, propose, evolution, steps=3)
    assert [(one["step"], len(one["answers"]), one["most"]) for one in asked] == [(2, GROUP, 3)] * 2
    assert [set(map(len, map(json.loads, table["evolved"]))) for table in tables[:2]] == [{0}, {2}]
    second = tables[1]
    for place, answer in enumerate(second["answer"]):
        evolved = json.loads(second["evolved"][place])
        held = sum(abs(one["points"]) for one in evolved)
        assert held == pytest.approx(8.8), "the mean of 5, 5, 5, 5 and 2, twice"
        assert [one["points"] > 0 for one in evolved] == [True, False]
        whole = [one.model_dump() for one in ROWS[place // GROUP].rubric.criteria] + evolved  # type: ignore[union-attr]
        gained = sum(one["points"] for one in whole if chance(answer, one["text"]) >= 0.5)
        wanted = sum(one["points"] for one in whole if one["points"] > 0)
        assert second["score"][place] == pytest.approx(gained / wanted)
    for n, row in enumerate(ROWS):
        answers = [tables[1]["answer"][place] for place in range(n * GROUP, (n + 1) * GROUP)]
        told = [one for one in _lines(tmp_path / "rubrics.jsonl") if one["row"] == row.id]
        assert {one["what"] for one in told[:2]} == {"proposed"} and {one["batch"] for one in told} <= {2, 3}
        for one in (one["evolved"] for one in told[:2]):
            assert one["proposer"] == "scripted" and one["step"] == 2
            assert one["rollouts"] == [rollout_hash(answer) for answer in answers]
            spread = {chance(answer, one["text"]) >= 0.5 for answer in answers}
            fate = [other["what"] for other in told[2:] if other["evolved"]["id"] == one["id"] and other["batch"] == 2]
            assert fate == ["promoted" if len(spread) == 2 else "retired"]
            third = json.loads(tables[2]["evolved"][n * GROUP])
            assert (one["text"] in {other["text"] for other in third}) == (len(spread) == 2)
    logs = trainer.state.log_history
    assert [log.get("rubric/evolved") for log in logs[:2]] == [0.0, 2.0]
    assert logs[1]["evolving/failed_share"] == 0.0 and logs[1]["evolving/admitted"] == 2.0
    assert "criteria/evolved:anti_hack" in logs[1] and not any("evolved-" in name for name in logs[1])
    shown = {len(item["rubric"]["criteria"]) for body in service.bodies for item in body["items"]}
    assert shown <= {5, 6, 7}


def test_a_proposer_that_fails_leaves_the_rubric_as_it_was(
    tmp_path: Path, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, tables, _ = _trained(tmp_path, policy, lambda **_: 1 / 0, Evolution())
    assert all(one == "[]" for table in tables for one in table["evolved"])
    assert None not in tables[0]["reward"] and tables[0]["score"] == tables[0]["full_score"]
    assert [log["evolving/failed_share"] for log in trainer.state.log_history[:2]] == [1.0, 1.0]
    said = capsys.readouterr().err
    assert said.count("the proposer scripted gave no criteria") == 1 and "ZeroDivisionError" in said
    assert not (tmp_path / "rubrics.jsonl").exists() and len(_lines(tmp_path / "proposals.jsonl")) == 4


def test_dropout_leaves_evolved_criteria_alone(tmp_path: Path, policy: str) -> None:
    def propose(**told: Any) -> list[Json]:
        return [{"text": f"Asks {told['step']}.", "kind": "positive"}]

    _, (table, *_), _ = _trained(tmp_path, policy, propose, Evolution(), steps=1, dropout=RubricDropout(0.5, keep=1))
    assert all(len(json.loads(one)) == 2 and "evolved" not in one for one in table["dropped"])
    assert all(len(json.loads(one)) == 1 for one in table["evolved"])
    assert any(one != full for one, full in zip(table["score"], table["full_score"], strict=True))


def test_what_is_not_learnt_yet_is_revealed_rather(tmp_path: Path, policy: str) -> None:
    """Two criteria that every answer meets and three that none does: after three epochs the last are drawn first."""
    easy = {f"c{n}" for n in range(2)}

    def answer(body: Json) -> Any:
        told = scores(body)
        for result in told["results"]:
            for one in result["criteria"]:
                one["met"] = (one["id"] in easy) == (one["points"] > 0)  # c4 has negative points
        return answered(told)

    service, seen = Service(answer), Recorder()
    half = Scaffold(Schedule(over="constant"), choose="unlearnt", seed=2)
    with served(service) as url:
        config = configured(tmp_path, steps=12, mini_batch=1, per_device=4)
        judging = JudgeConfig(url, judge_timeout_s=60.0)
        trainer = build(policy, [*ROWS] * 12, judging=judging, config=config, scaffold=half)
        seen.watch(trainer).train(resume_from_checkpoint=None)
    state = json.loads(json.dumps(LiveState.state(_callback(trainer))))["attributes"]["pass_rates"]
    rates = PassRates({id: (met, judged) for id, (met, judged) in state["row-0"].items()})
    assert ROWS[0].rubric is not None
    weights = rates.weights(ROWS[0].rubric.criteria)
    assert max(weights[:2]) < 0.2 and min(weights[2:]) > 0.7
    late = [rollout for rollout in seen.rollouts if rollout["step"] >= 12]
    firsts = [json.loads(rollout["revealed"][place])[0] for rollout in late for place in (0, 1, 2, 4, 5, 6)]
    assert sum(one >= 2 for one in firsts) / len(firsts) > 0.8, "evenly it were 3 of 5"


def test_a_checkpoint_without_the_state_is_refused() -> None:
    began = SimpleNamespace(global_step=3, stateful_callbacks={})
    with pytest.raises(ValueError, match="a run whose rubrics did not change"):
        LiveState(LiveRubrics()).on_train_begin(None, began, None)


def _callback(trainer: Any) -> Any:
    (found,) = (one for one in trainer.callback_handler.callbacks if isinstance(one, LiveState))
    return found


@pytest.mark.parametrize("world", [1, 2])
def test_a_run_that_was_killed_goes_on_with_its_rubrics_and_pays_for_none_twice(
    tmp_path: Path, policy: str, world: int
) -> None:
    """Six batches, a checkpoint after the third, killed in the fifth after its proposals; the resumed run is in the
    same folder. With two processes a group's answers come from both."""
    more: dict[str, Any] = {"world": world, "evolution": Evolution(promote=0.0), "save_every": 3, "mini_batch": 2}
    more |= {"per_device": 4, "trl": {"learning_rate": 1e-3}}  # its answers stay different
    with judged_by(by_criteria=True) as (judging, undisturbed):
        whole = plan(tmp_path / "whole", policy, judging, **more)
        assert Running(whole).end() == [0] * world
    with killing(at=4 * 2 * GROUP + 3, by_criteria=True) as (judging, doomed):
        cut = plan(tmp_path / "cut", policy, judging, **more)
        doomed.append(Running(cut))
        assert doomed[0].end() == [-signal.SIGKILL] * world
        (checkpoint,) = cut.out.glob("checkpoint-*")
        asked = (cut.out / "asked").read_text()
        assert len(asked.splitlines()) == 5 * 2, "the fifth batch's proposals are paid"
        doomed.clear()
        resumed = plan(cut.out, policy, judging, **more, resume=str(checkpoint))
        assert Running(resumed).end() == [0] * world
    after = (cut.out / "asked").read_text()
    assert after.startswith(asked) and after == (whole.out / "asked").read_text()
    wanted = [happened(record) for record in whole.records()]
    assert [happened(record) for record in resumed.records()][-3:] == wanted[3:]
    state = [json.loads((out / "checkpoint-6" / "trainer_state.json").read_text()) for out in (whole.out, cut.out)]
    first, second = (one["stateful_callbacks"]["LiveState"]["attributes"]["rows"] for one in state)
    assert first == second and sum(len(one["active"]) for one in first.values()) > 0
    for rank in range(world):
        ours, theirs = resumed.weights(rank), whole.weights(rank)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    sizes = {len(item["rubric"]["criteria"]) for body in undisturbed.bodies for item in body["items"]}
    assert max(sizes) > 5, "criteria that stayed are judged with new ones"
