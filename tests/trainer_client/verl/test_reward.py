"""The reward that verl asks for, against a scripted judge. No class of verl is needed here: verl calls it as it is
called below (`contract/rewards.py` runs the same through verl's real reward worker)."""

import asyncio
import json
import pickle
from collections import UserDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from testkit import scripted_judge
from testkit.scripted_judge import Json, ManualClock, Service
from trainer_client import wire
from trainer_client.client import JudgeClient
from trainer_client.data.rows import Row
from trainer_client.errors import DataError, Unauthorized
from trainer_client.reward_client import JudgeConfig
from trainer_client.verl.reward import NotJudged, compute_score
from trainer_client.verl.rows import to_parquet

RUBRIC = wire.Rubric.model_validate([{"text": "Is kind.", "points": 5}, {"text": "Lies.", "points": -3}])
ROW = Row("row-1", ({"role": "user", "content": "Hello?"},), RUBRIC, "Hi.", "made-up")
SECRET = "what the policy wrote"
Made = list[JudgeClient]


@pytest.fixture
def extra_info(tmp_path: Path) -> Json:
    to_parquet([ROW], tmp_path / "train.parquet", split="train")
    (row,) = parquet.read_table(tmp_path / "train.parquet").to_pylist()
    told: Json = row["extra_info"]
    return told


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def made(service: Service, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Every client that was made, with a clock that needs no waiting."""
    clients: Made = []

    def client(self: JudgeConfig) -> JudgeClient:
        more: Any = {"transport": service.transport, "clock": ManualClock().clock}
        one = JudgeClient(self.url, token=self.token, concurrency=self.concurrency, timeout_s=self.timeout_s, **more)
        clients.append(one)
        return one

    monkeypatch.setattr(JudgeConfig, "client", client)
    return clients


async def _ask(extra_info: Json, solution: str = SECRET, **more: Any) -> dict[str, float | None]:
    told = {"num_turns": 2, "rollout_reward_scores": {}, "revealed": 1, "criteria": 2, "revealed_share": 0.5}
    return await compute_score(
        data_source="made-up",
        solution_str=solution,
        ground_truth="Hi.",
        extra_info={**extra_info, **told},
        **{"url": "http://judge", "judge_timeout_s": 5.0, **more},
    )


def _with(**changes: Any) -> Callable[[Json], Any]:
    """A judge whose every result has these fields."""

    def answer(body: Json) -> Any:
        told = scripted_judge.scores(body)
        return scripted_judge.answered({**told, "results": [{**one, **changes} for one in told["results"]]})

    return answer


ANSWERS: list[tuple[str, Json, str]] = [
    ("<think>a</think>Rest.", {}, "Rest."),
    ("a\n</think>\n\nRest.", {}, "Rest."),
    ("<think>a", {}, ""),
    ("aRest.", {"answer": "Rest.", "reasoning_ended": "finished"}, "Rest."),
    ("a", {"answer": "", "reasoning_ended": "unfinished"}, ""),
]


@pytest.mark.parametrize(("solution", "loop", "answer"), ANSWERS)
async def test_the_answer_is_judged_without_its_reasoning(
    solution: str, loop: Json, answer: str, extra_info: Json, service: Service, made: Made
) -> None:
    """`loop` is what our agent loop read with the policy's tokenizer."""
    told = await _ask({**extra_info, **loop}, solution)
    assert service.bodies[0]["items"][0]["response"] == answer
    assert told["answer_empty"] == told["reasoning_unfinished"] == float(not answer)
    await _ask({**extra_info, **loop}, solution, reasoning="keep")
    assert service.bodies[-1]["items"][0]["response"] == solution
    await _ask(extra_info, "<plan>a</plan>Rest.", reasoning={"open": "<plan>", "close": "</plan>"})
    assert service.bodies[-1]["items"][0]["response"] == "Rest."


async def test_turns_that_an_agent_loop_hands_on_are_judged_as_such(
    extra_info: Json, service: Service, made: Made
) -> None:
    told = {"role": "tool", "content": "Rest.", "tool_call_id": "1"}
    said = {"role": "assistant", "content": "<think>Rest.</think>Wait."}
    await _ask({**extra_info, "turns": [{"role": "assistant", "content": None}, told, said]}, "Rest.Wait.")
    sent = service.bodies[0]["items"][0]["response"]
    assert [(turn["role"], turn["content"]) for turn in sent] == [
        ("assistant", ""),
        ("tool", "Rest."),
        ("assistant", "Wait."),
    ]
    ended_in_a_tool = await _ask({**extra_info, "turns": [said, told]}, "Rest.Wait.")
    assert ended_in_a_tool["answer_empty"] == 1.0


async def test_joined_text_of_several_turns_is_not_judged(extra_info: Json, service: Service, made: Made) -> None:
    with pytest.raises(DataError, match=r"4 turns, .* agent='rubricd_tools'"):
        await compute_score("made-up", SECRET, None, {**extra_info, "num_turns": 4}, url="http://judge")
    assert service.bodies == []


async def test_what_verl_gets_and_what_the_judge_is_asked(extra_info: Json, service: Service, made: Made) -> None:
    told = await _ask(extra_info)
    judged = ["score", "judged", "coverage", "met_share"]
    answered = ["answer_empty", "reasoning_unfinished"]
    by_all = ["full_score", "dropped_share", "evolved"]
    assert list(told) == [*judged, *by_all, *answered, "judge_latency_s", "revealed_share", "revealed"]
    assert (told["full_score"], told["dropped_share"]) == (told["score"], 0.0)
    assert told["score"] == scripted_judge.expected_score(SECRET)
    met = [scripted_judge.chance(SECRET, text) >= 0.5 for text in ("Is kind.", "Lies.")]
    assert told["met_share"] == sum(met) / 2
    assert (told["judged"], told["coverage"], told["revealed_share"], told["revealed"]) == (1.0, 1.0, 0.5, 1.0)
    assert told["judge_latency_s"] is not None and 0 <= told["judge_latency_s"] < 60
    (item,) = service.bodies[0]["items"]
    assert item["prompt"] == [{"role": "user", "content": "Hello?"}]
    assert (item["id"], item["response"], item["reference"]) == ("row-1", SECRET, "Hi.")
    assert wire.Rubric.model_validate(item["rubric"]) == RUBRIC


async def test_without_a_scaffold_nothing_was_shown(extra_info: Json, service: Service, made: Made) -> None:
    told = await compute_score("made-up", SECRET, None, extra_info, url="http://judge")
    assert (told["revealed_share"], told["revealed"]) == (0.0, 0.0)


async def test_a_response_that_was_judged_in_part_has_no_reward(extra_info: Json, service: Service, made: Made) -> None:
    service.answer = _with(status="partial", score=None, coverage=0.625, score_bounds=[-0.6, 1.0])
    with pytest.raises(NotJudged, match=r"no reward: the judge decided 62% of the rubric \(partial\)"):
        await _ask(extra_info)


async def test_lower_bound_is_the_least_that_its_verdicts_allow_and_is_marked(
    extra_info: Json, service: Service, made: Made
) -> None:
    service.answer = _with(status="partial", score=None, coverage=0.625, score_bounds=[-0.6, 1.0])
    told = await _ask(extra_info, when_missing="lower_bound")
    assert (told["score"], told["judged"], told["coverage"]) == (-0.6, 0.0, 0.625)
    assert len(told) == 12


async def test_the_share_that_is_met_is_of_those_with_a_verdict(extra_info: Json, service: Service, made: Made) -> None:
    def answer(body: Json) -> Any:
        told = scripted_judge.scores(body)
        first, second = told["results"][0]["criteria"]
        first["met"], first["p"] = True, 0.9
        told["results"][0]["criteria"] = [first, {**second, "status": "abstained", "met": None, "p": None}]
        told["results"][0].update(score=0.4, score_bounds=[0.4, 1.0], coverage=0.625, status="partial")
        return scripted_judge.answered(told)

    service.answer = answer
    told = await _ask(extra_info, options={"min_coverage": 0.5, "unjudged": "lower"})
    assert (told["score"], told["judged"], told["coverage"], told["met_share"]) == (0.4, 0.0, 0.625, 1.0)


async def test_lower_bound_leaves_a_judged_response_its_score(extra_info: Json, service: Service, made: Made) -> None:
    service.answer = _with(score_bounds=[-9.0, 9.0])
    told = await _ask(extra_info, when_missing="lower_bound")
    assert (told["score"], told["judged"]) == (scripted_judge.expected_score(SECRET), 1.0)


@pytest.mark.parametrize("when_missing", ["raise", "lower_bound"])
async def test_no_answer_is_no_reward_under_any_policy(
    when_missing: str, extra_info: Json, service: Service, made: Made
) -> None:
    service.answer = lambda body: scripted_judge.problem("invalid_request", 422)
    with pytest.raises(NotJudged, match=r"gave no answer \(invalid_request") as caught:
        await _ask(extra_info, when_missing=when_missing)
    assert SECRET not in f"{caught.value}{caught.value.__cause__}"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


@pytest.mark.parametrize("bounds", [None, [-0.6, 1.0]])
async def test_a_response_of_which_nothing_was_judged_has_no_lower_bound(
    bounds: list[float] | None, extra_info: Json, service: Service, made: Made
) -> None:
    """The service's bounds are then the worst and the best score of any response to this rubric."""
    service.answer = _with(status="failed", score=None, coverage=0.0, score_bounds=bounds)
    with pytest.raises(NotJudged, match="decided 0%"):
        await _ask(extra_info, when_missing="lower_bound")


async def test_a_judge_that_is_away_for_a_while_is_waited_for(extra_info: Json, service: Service, made: Made) -> None:
    away = iter([scripted_judge.problem("unavailable", 503)] * 3)
    service.answer = lambda body: next(away, None) or scripted_judge.answered(scripted_judge.scores(body))
    told = await _ask(extra_info, judge_timeout_s=60.0)
    assert told["judged"] == 1.0
    assert len(service.bodies) == 4


async def test_a_key_that_is_not_known_is_raised_at_once(extra_info: Json, service: Service, made: Made) -> None:
    service.answer = lambda body: scripted_judge.problem("unauthorized", 401)
    with pytest.raises(Unauthorized):
        await _ask(extra_info, when_missing="lower_bound")
    assert len(service.bodies) == 1


async def test_all_rollouts_of_a_process_share_one_client_and_its_bound(
    extra_info: Json, service: Service, made: Made
) -> None:
    told = await asyncio.gather(*(_ask(extra_info, f"answer {n}", concurrency=3) for n in range(40)))
    assert [one["score"] for one in told] == [scripted_judge.expected_score(f"answer {n}") for n in range(40)]
    assert len(made) == 1
    assert service.busiest == 3


async def test_another_judge_has_a_client_of_its_own(extra_info: Json, service: Service, made: Made) -> None:
    for url in ("http://one", "http://two", "http://one"):
        await _ask(extra_info, url=url)
    assert [str(request.url.host) for request in service.requests if request.url.path == "/v1/score"] == [
        "one",
        "two",
        "one",
    ]
    assert len(made) == 2


def test_each_event_loop_has_a_client_of_its_own(extra_info: Json, service: Service, made: Made) -> None:
    for _ in range(2):
        assert asyncio.run(_ask(extra_info))["judged"] == 1.0
    assert len(made) == 2


async def test_key_and_options_reach_the_judge(
    extra_info: Json, service: Service, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_KEY", "secret-key")
    await _ask(extra_info, token_env="OUR_KEY", options={"aggregation": "mean", "soft": True})
    assert service.requests[-1].headers["authorization"] == "Bearer secret-key"
    assert (service.bodies[0]["aggregation"], service.bodies[0]["soft"]) == ("mean", True)


async def test_options_may_be_of_the_types_of_verls_config(extra_info: Json, service: Service, made: Made) -> None:
    chosen = UserDict({"name": "rar_explicit", "category_weights": UserDict({"pitfall": 0.8})})
    await _ask(extra_info, options=UserDict({"aggregation": chosen}))
    assert service.bodies[0]["aggregation"]["category_weights"]["pitfall"] == 0.8


async def test_without_a_key_none_is_sent(
    extra_info: Json, service: Service, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUBRICD_KEY", raising=False)
    await _ask(extra_info)
    assert "authorization" not in service.requests[-1].headers


async def test_a_rating_without_a_rubric(tmp_path: Path, service: Service, made: Made) -> None:
    to_parquet([Row("r", ROW.messages, None, None, "made-up")], tmp_path / "t.parquet", split="train")
    (row,) = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    entry = {"id": "rating", "status": "ok", "met": None, "p": None, "p_raw": None, "label_mass": 1.0, "points": 1.0}
    rating = {"expected": 7.3, "most_likely": 7, "normalised": 0.7}
    service.answer = _with(score=0.7, rating=rating, criteria=[{**entry, "source": "judge"}])
    told = await _ask(row["extra_info"], options={"mode": "likert"})
    assert (told["score"], told["met_share"]) == (0.7, None)
    assert "rubric" not in service.bodies[0]["items"][0]


TAGGED = [
    {"text": "Is kind.", "points": 5, "id": "kind", "tags": {"axis": "tone"}},
    {"text": "Is brief.", "points": 1, "id": "brief", "tags": {"axis": "tone"}},
    {"text": "Lies.", "points": -3, "id": "lies"},
]
PARTS = ["axis:harm", "axis:tone", "untagged"]


async def _ask_by_tag(folder: Path, **more: Any) -> dict[str, float | None]:
    row = Row("r", ROW.messages, wire.Rubric.model_validate(TAGGED), None, "made-up")
    to_parquet([row], folder / "t.parquet", split="train")
    (written,) = parquet.read_table(folder / "t.parquet").to_pylist()
    return await _ask(written["extra_info"], **{"rewards_by": "tag", "parts": PARTS, **more})


async def test_the_parts_of_a_score_are_keys_of_their_own(tmp_path: Path, service: Service, made: Made) -> None:
    told = await _ask_by_tag(tmp_path)
    kind, brief, lies = (scripted_judge.chance(SECRET, one["text"]) >= 0.5 for one in TAGGED)
    assert told["reward/axis:tone"] == (5 * kind + brief) / 6
    assert told["reward/untagged"] == -float(lies)
    assert told["reward/axis:harm"] == 0.0, "no criterion of this row has it"
    total = (5 * kind + brief - 3 * lies) / 6
    assert told["score"] == pytest.approx(total)
    by_id = await _ask_by_tag(tmp_path, rewards_by="criterion", parts=["brief", "kind", "lies"])
    assert [by_id[f"reward/{name}"] for name in ("kind", "brief", "lies")] == [kind, brief, -float(lies)]


async def test_a_part_without_a_verdict_is_no_reward(tmp_path: Path, service: Service, made: Made) -> None:
    def answer(body: Json) -> Any:
        told = scripted_judge.scores(body)
        first, *others = told["results"][0]["criteria"]
        told["results"][0]["criteria"] = [{**first, "status": "abstained", "met": None, "p": None}, *others]
        return scripted_judge.answered(told)

    service.answer = answer
    with pytest.raises(NotJudged, match="a criterion of axis:tone has no verdict"):
        await _ask_by_tag(tmp_path)


async def test_parts_are_those_of_all_rows(tmp_path: Path, service: Service, made: Made) -> None:
    with pytest.raises(ValueError, match=r"`parts` lack untagged: take them from reward_parts\.names of all rows"):
        await _ask_by_tag(tmp_path, parts=["axis:tone"])
    halves: tuple[dict[str, Any], ...] = ({"parts": []}, {"rewards_by": "total"})
    for wrong in halves:
        with pytest.raises(ValueError, match="give both, or neither"):
            await _ask_by_tag(tmp_path, **wrong)


async def test_misuse_is_said(extra_info: Json, made: Made) -> None:
    with pytest.raises(ValueError, match="when_missing is `raise` or `lower_bound`, not 'zero'"):
        await _ask(extra_info, when_missing="zero")
    with pytest.raises(TypeError, match="patience"):
        await _ask(extra_info, patience=5)
    with pytest.raises(TypeError, match="unknown options: agregation"):
        await _ask(extra_info, options={"agregation": "mean"})


@pytest.mark.parametrize(
    "told",
    [None, {}, {"row": "{}", "split": "train"}, {"row": "no json", "split": "train"}, {"row": None, "split": "val"}],
)
async def test_a_sample_that_holds_no_row_is_an_error(told: Json | None, made: Made) -> None:
    with pytest.raises(DataError, match="to_parquet"):
        await compute_score("made-up", SECRET, None, told, url="http://judge")


async def test_a_split_that_is_neither_is_an_error(extra_info: Json, made: Made) -> None:
    with pytest.raises(DataError):
        await _ask({**extra_info, "split": "test"})
    assert json.loads(extra_info["row"])["id"] == "row-1"
