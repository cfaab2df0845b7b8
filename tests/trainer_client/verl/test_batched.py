"""The rewards of a whole batch, as verl's older reward manager `batch` asks for them, against a scripted judge."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from testkit import scripted_judge
from testkit.scripted_judge import Json, ManualClock, Service
from trainer_client import wire
from trainer_client.client import JudgeClient
from trainer_client.data.rows import Row
from trainer_client.errors import DataError, Unauthorized
from trainer_client.reward_client import JudgeConfig
from trainer_client.scaffold import Message
from trainer_client.verl.batched import compute_score_batched
from trainer_client.verl.reward import NotJudged
from trainer_client.verl.rows import to_parquet

PROMPT: list[Message] = [{"role": "user", "content": "Hello?"}]
RUBRICS = [
    {"criterion": "Is kind.", "points": 5, "tags": ["axis:tone"]},
    {"criterion": "Lies.", "points": -3, "tags": ["axis:truth"]},
]
RUSCARL: Json = {
    "prompt": PROMPT,
    "reward_model": {"ground_truth": "", "rubrics": RUBRICS, "style": "rubric"},
}
SECRET = "what the policy wrote"
FILE = Path(__file__).parents[3] / "trainer_client" / "verl" / "batched.py"
Made = list[JudgeClient]


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture(autouse=True)
def made(service: Service, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Every client that was made, with a clock that needs no waiting."""
    clients: Made = []

    def client(self: JudgeConfig) -> JudgeClient:
        more: Any = {"transport": service.transport, "clock": ManualClock().clock}
        one = JudgeClient(self.url, token=self.token, concurrency=self.concurrency, timeout_s=self.timeout_s, **more)
        clients.append(one)
        return one

    monkeypatch.setattr(JudgeConfig, "client", client)
    # A judge is known by its settings, and each test needs one of its own.
    monkeypatch.setenv("RUBRICD_KEY", f"rbd_{id(service)}")
    return clients


def _ask(extra_infos: list[Any], solutions: list[str] | None = None, **more: Any) -> list[dict[str, float]]:
    """As verl's BatchRewardManager calls it: by keyword, with arrays of objects."""
    solutions = solutions or [f"answer {n}" for n in range(len(extra_infos))]
    arrays: Any = {
        "data_sources": np.array(["healthbench"] * len(solutions), dtype=object),
        "extra_infos": np.array(extra_infos, dtype=object),
    }
    return compute_score_batched(
        solution_strs=solutions,
        ground_truths=[""] * len(solutions),
        **arrays,
        **{"url": "http://judge", "judge_timeout_s": 5.0, **more},
    )


def _second(**changes: Any) -> Callable[[Json], Any]:
    """A judge whose second result of a request has these fields."""

    def answer(body: Json) -> Any:
        told = scripted_judge.scores(body)
        results = [
            {**one, **(changes if item["id"] == "1" else {})}
            for item, one in zip(body["items"], told["results"], strict=True)
        ]
        return scripted_judge.answered({**told, "results": results})

    return answer


def test_rows_of_ruscarl_get_their_scores_in_order(service: Service) -> None:
    told = _ask([RUSCARL] * 40)
    assert [one["score"] for one in told] == [scripted_judge.expected_score(f"answer {n}") for n in range(40)]
    assert {(one["judged"], one["coverage"]) for one in told} == {(1.0, 1.0)}
    items = [item for body in service.bodies for item in body["items"]]
    assert items[0]["prompt"] == PROMPT
    criteria = wire.Rubric.model_validate(items[0]["rubric"]).criteria
    assert [(one.text, one.points, one.tags) for one in criteria] == [
        ("Is kind.", 5, {"axis": "tone"}),
        ("Lies.", -3, {"axis": "truth"}),
    ]


def test_tables_that_pandas_has_read_hold_arrays(service: Service) -> None:
    model = {"rubrics": np.array([{**one, "tags": np.array(one["tags"])} for one in RUBRICS], dtype=object)}
    table: Json = {"prompt": np.array(PROMPT, dtype=object), "reward_model": model}
    table["reward_model"]["rubrics"][0]["points"] = np.int64(5)
    assert _ask([table])[0]["score"] == scripted_judge.expected_score("answer 0")


def test_rows_that_we_wrote_are_read_whole(service: Service, tmp_path: Path) -> None:
    rubric = wire.Rubric.model_validate(RUBRICS)
    to_parquet([Row("knee", tuple(PROMPT), rubric, "Hi.", "made-up")], tmp_path / "t.parquet", split="train")
    (row,) = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    told = _ask([row["extra_info"]] * 2, [SECRET, "<think>Lies.</think>Rest."])
    assert told[0]["score"] == scripted_judge.expected_score(SECRET)
    (first, second) = service.bodies[0]["items"]
    assert (first["reference"], second["response"]) == ("Hi.", "Rest.")


def test_one_response_without_a_reward_leaves_the_batch_without_any(service: Service) -> None:
    service.answer = _second(status="partial", score=None, coverage=0.625, score_bounds=[-0.6, 1.0])
    with pytest.raises(NotJudged, match=r"1 of 3 responses have no reward \(1 partial\)") as caught:
        _ask([RUSCARL] * 3)
    assert "answer" not in str(caught.value)


def test_a_lower_bound_is_marked_and_is_of_what_was_judged(service: Service) -> None:
    service.answer = _second(status="partial", score=None, coverage=0.625, score_bounds=[-0.6, 1.0])
    told = _ask([RUSCARL] * 3, when_missing="lower_bound")
    assert told[1] == {"score": -0.6, "judged": 0.0, "coverage": 0.625}
    assert [one["judged"] for one in told] == [1.0, 0.0, 1.0]
    nothing = dict.fromkeys(("met", "p", "p_raw", "label_mass"))
    long = [
        {"id": f"{n}", "status": "too_long", "points": p, "source": "judge", **nothing} for n, p in ((0, 5), (1, -3))
    ]
    service.answer = _second(status="failed", score=None, coverage=0.0, score_bounds=[-0.6, 1.0], criteria=long)
    with pytest.raises(NotJudged, match=r"1 of 3 .* \(1 too_long\), .*; another attempt would not help"):
        _ask([RUSCARL] * 3, when_missing="lower_bound")


def test_a_judge_that_is_away_is_no_reward_and_one_that_comes_back_is_waited_for(service: Service) -> None:
    service.answer = lambda body: scripted_judge.problem("unavailable", 503)
    with pytest.raises(NotJudged, match=r"2 of 2 responses have no reward .*; bring the judge back"):
        _ask([RUSCARL] * 2, when_missing="lower_bound")
    away = iter([scripted_judge.problem("unavailable", 503)] * 3)
    service.answer = lambda body: next(away, None) or scripted_judge.answered(scripted_judge.scores(body))
    assert len(_ask([RUSCARL] * 2, judge_timeout_s=60.0)) == 2


def test_a_key_that_is_not_known_is_raised_at_once(service: Service) -> None:
    service.answer = lambda body: scripted_judge.problem("unauthorized", 401)
    with pytest.raises(Unauthorized):
        _ask([RUSCARL])
    assert len(service.bodies) == 1


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (None, "sample 1 of the batch: "),
        ({"index": 3}, "sample 1 of the batch: "),
        ({"prompt": PROMPT, "reward_model": {"rubrics": []}}, "sample 1 of the batch: .*rubrics"),
        ({**RUSCARL, "reward_model": {"rubrics": [{"criterion": "x"}]}}, r"sample 1 of the batch: .*points"),
    ],
)
def test_a_sample_without_a_rubric_is_named_and_nothing_is_judged(service: Service, info: Json, said: str) -> None:
    with pytest.raises(DataError, match=said):
        _ask([RUSCARL, info])
    assert service.bodies == []


def test_a_pitfall_needs_a_sign_from_the_caller(service: Service) -> None:
    pitfall = {"criterion": "Pitfall Criteria: Does not lie.", "points": -3}
    info = {**RUSCARL, "reward_model": {"rubrics": [RUBRICS[0], pitfall]}}
    with pytest.raises(DataError, match="pitfall"):
        _ask([info])
    _ask([info], options={"pitfalls": "met_is_good"})
    (item,) = service.bodies[0]["items"]
    assert [one.worth for one in wire.Rubric.model_validate(item["rubric"]).criteria] == [5, 3]


def test_misuse_is_said(service: Service) -> None:
    with pytest.raises(ValueError, match="not 'zero'"):
        _ask([RUSCARL], when_missing="zero")
    with pytest.raises(TypeError, match="unknown options: hard"):
        _ask([RUSCARL], options={"hard": True})
    with pytest.raises(ValueError, match="argument 2 is"):
        compute_score_batched([], ["a", "b"], [], [RUSCARL], url="http://judge")
    assert service.bodies == []


def test_batches_share_one_client_also_from_within_a_loop(made: Made) -> None:
    _ask([RUSCARL])

    async def within() -> list[dict[str, float]]:
        return _ask([RUSCARL])

    assert asyncio.run(within())[0]["score"] == scripted_judge.expected_score("answer 0")
    assert len(made) == 1
    _ask([RUSCARL], options={"soft": True})
    assert len(made) == 2


def test_its_file_can_be_loaded_by_path_as_verl_loads_it(service: Service) -> None:
    """verl 0.4 takes a file's path, and puts the module under a name of its own."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("custom_module", FILE)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["custom_module"] = module
    try:
        spec.loader.exec_module(module)
        (told,) = module.compute_score_batched(["h"], ["answer 0"], [""], [RUSCARL], url="http://judge")
    finally:
        del sys.modules["custom_module"]
    assert told["score"] == scripted_judge.expected_score("answer 0")
