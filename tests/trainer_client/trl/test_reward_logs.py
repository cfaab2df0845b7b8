"""What the reward function logs: metrics, columns of the completions table, and what judging cost."""

import json

import httpx

from testkit.scripted_judge import Json, answered
from tests.trainer_client.trl.asking import Log, asked
from tests.trainer_client.trl.tiny import judged_by, rows, word
from trainer_client import wire
from trainer_client.data.rows import Row
from trainer_client.trl.trainer import JudgeReward


def test_two_judges_side_by_side_log_under_their_own_names() -> None:
    first, second = Log(), Log()
    with judged_by() as (judging, _):
        asked(JudgeReward(judging), rows(2), ["a", "b"], log=first)
        asked(JudgeReward(judging, name="safety"), rows(2), ["a", "b"], log=second)
    assert not first.columns.keys() & second.columns.keys() and not first.metrics.keys() & second.metrics.keys()
    assert {"safety/score", "safety/row"} < second.columns.keys()
    assert {"safety/none_share", "safety/reward/bare", "safety/criteria/c0"} < second.metrics.keys()
    assert all(name.startswith("safety/") for name in (*second.columns, *second.metrics))


AUDIT = ["verdicts", "judge", "attempts"]


def test_columns_of_the_completions_table() -> None:
    log = Log()
    with judged_by(lambda response: None if response == "b" else 0.5) as (judging, _):
        columns = {"member": [0, 1], "revealed": ["[0]", "[]"], "revealed_share": [1.0, 0.0], "other": [1, 2]}
        asked(JudgeReward(judging), rows(2), ["a", "b"], log=log, **columns)
    drawn = ["member", "revealed_share", "revealed"]
    assert list(log.columns) == ["row", *drawn, "answer", "score", "reward", "status", "criteria", *AUDIT]
    assert log.columns["answer"] == ["a", "b"]
    assert log.columns["row"] == ["row-0", "row-1"]
    assert log.columns["score"] == log.columns["reward"] == [0.5, None]
    assert log.columns["status"] == ["ok", "abstained"]
    assert set(json.loads(log.columns["criteria"][0])) == {"c0", "c1", "c2"}
    assert log.columns["judge"] == ["judge-1", "judge-1"] and log.columns["attempts"] == [1, 1]
    first, second = map(json.loads, log.columns["verdicts"])
    assert [one["id"] for one in first] == [one["id"] for one in second] == ["c0", "c1", "c2"]
    always = {name for name, field in wire.CriterionResult.model_fields.items() if field.exclude_if is None}
    assert set(first[0]) == always, "and what graded criteria and compositions have beside it"
    assert all(isinstance(one["p"], float) and one["status"] == "ok" for one in first)
    assert all(one["p"] is None and one["status"] == "abstained" for one in second)
    assert json.loads(log.columns["criteria"][1]) == dict.fromkeys(("c0", "c1", "c2"))


def test_metrics() -> None:
    log = Log()
    with judged_by(lambda response: None if response == "c" else word(response)) as (judging, _):
        asked(JudgeReward(judging), rows(3), ["a", "b", "c"], log=log, revealed_share=[1.0, 0.0, 0.5])
    told = log.metrics
    assert told["judge/none_share"] == [0, 0, 1] and told["scaffold/revealed_share"] == [1, 0, 0.5]
    assert (told["reward/scaffolded"], told["reward/bare"]) == ([word("a")], [word("b")])
    assert told["judge/abstained"] == [0] * 6 + [1] * 3
    assert len(told["judge/p_met"]) == len(told["judge/met_share"]) == 6
    assert told["criteria/c0"] == told["judge/met_share"][::3]
    assert len(told["judge/latency_s"]) == len(told["judge/waited_s"]) == 1
    assert told["judge/coverage"] == [1, 1, 0]


def test_what_a_batch_cost_is_logged() -> None:
    """Of a batch alone, and not of those before it."""
    with judged_by() as (judging, service):
        usage = {"judgements": 9, "cache_hits": 2, "prompt_tokens": 70, "cached_tokens": 50, "completion_tokens": 3}
        plain = service.answer

        def answer(body: Json) -> httpx.Response:
            whole = plain(body).json()
            return answered({**whole, "usage": {**whole["usage"], **usage}})

        service.answer = answer
        judge = JudgeReward(judging)
        for _ in range(2):
            log = Log()
            asked(judge, rows(1), ["a"], log=log)
            told = {name.removeprefix("judge/usage/"): value for name, value in log.metrics.items() if "usage" in name}
            assert told == {
                "answers": [1], "retries": [0], "deduplicated": [0], **{name: [one] for name, one in usage.items()}
            }  # fmt: skip


def test_at_most_64_criteria_are_followed_by_name() -> None:
    tags = {"axis": "a"}
    made = [wire.Criterion(id=f"c{n}", text=f"Says {n}.", points=1, tags=tags if n == 99 else {}) for n in range(100)]
    row = Row("r", ({"role": "user", "content": "Hello?"},), wire.Rubric(criteria=made), None, "s")
    log = Log()
    with judged_by() as (judging, _):
        judge = JudgeReward(judging)
        asked(judge, [row], ["a"], log=log)
        asked(judge, [row], ["b"], log=Log())
    names = [name for name in log.metrics if name.startswith("criteria/")]
    assert names == [*(f"criteria/c{n}" for n in range(64)), "criteria/other"]
    assert len(log.metrics["criteria/other"]) == 37


def test_criteria_without_a_name_are_followed_by_their_tags_only() -> None:
    made = [wire.Criterion(text=f"Says {n}.", points=1, tags={"axis": "ab"[n % 2]}) for n in range(5)]
    row = Row("r", ({"role": "user", "content": "Hello?"},), wire.Rubric(criteria=made), None, "s")
    log = Log()
    with judged_by() as (judging, _):
        asked(JudgeReward(judging), [row], ["a"], log=log)
    named = {name: len(values) for name, values in log.metrics.items() if name.startswith("criteria/")}
    assert named == {"criteria/axis:a": 3, "criteria/axis:b": 2}
