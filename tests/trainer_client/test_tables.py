import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import FINGERPRINT, Json, Service, answered, expected_score, items, scores, served
from trainer_client.client import JudgeClient, SyncJudgeClient
from trainer_client.errors import DataError
from trainer_client.tables import score_table

pandas = pytest.importorskip("pandas")
RUBRIC = items(1)[0]["rubric"]


def _answer(body: Json) -> httpx.Response:
    """Each response is judged, but for one that says `unknown`."""
    said = scores(body)
    texts = [text for item in body["items"] for text in item.get("responses", [item.get("response")])]
    for result, text in zip(said["results"], texts, strict=True):
        if text == "unknown":
            nothing = {"status": "abstained", "met": None, "p": None, "p_raw": None}
            result |= {"status": "failed", "score": None, "score_bounds": [-0.6, 1.0], "coverage": 0.0}
            result["criteria"] = [one | nothing for one in result["criteria"]]
    return answered(said)


@pytest.fixture
def judge() -> Iterator[SyncJudgeClient]:
    with served(Service(_answer)) as url, JudgeClient.sync(url) as client:
        yield client


def _frame(**columns: Any) -> Any:
    own = {"prompt": ["Hello?"] * 3, "response": ["a", "unknown", "c"], "rubric": [RUBRIC] * 3, "level": [1, 2, 3]}
    return pandas.DataFrame({**own, **columns}, index=["x", "y", "z"])


def test_a_frame_comes_back_with_its_scores_and_nan_where_there_is_none(judge: SyncJudgeClient) -> None:
    frame = _frame()
    scored = score_table(judge, frame)
    assert list(scored.index) == ["x", "y", "z"] and list(scored["level"]) == [1, 2, 3]
    assert scored["score"].dtype == "float64" and "score" not in frame.columns
    assert scored["score"]["x"] == expected_score("a") and math.isnan(scored["score"]["y"])
    assert scored["score"].count() == 2, "pandas leaves NaN out of counts and means"
    assert list(scored["status"]) == ["ok", "failed", "ok"] and scored["reason"]["y"] == "abstained"
    assert (scored["coverage"]["y"], scored["score_low"]["y"], scored["score_high"]["y"]) == (0.0, -0.6, 1.0)
    assert scored["met"]["y"] == '{"0": null, "1": null}' and set(scored["judge"]) == {FINGERPRINT}


def test_a_frame_of_which_nothing_was_judged_has_a_column_of_nan(judge: SyncJudgeClient) -> None:
    scored = score_table(judge, _frame(response=["unknown"] * 3))
    assert scored["score"].dtype == "float64" and scored["score"].isna().all()


def test_a_data_set_comes_back_with_none(judge: SyncJudgeClient) -> None:
    datasets = pytest.importorskip("datasets")
    more = {"text": "Lies.", "points": -3, "id": "lies"}
    own = {"prompt": ["Hello?"] * 2, "response": ["a", "unknown"], "rubric": [[RUBRIC[0], more]] * 2}
    scored = score_table(judge, datasets.Dataset.from_dict(own))
    assert scored["score"][:] == [expected_score("a"), None]
    assert scored["reason"][:] == ["ok", "abstained"] and scored["prompt"][:] == own["prompt"]


def test_a_frame_may_have_any_format_of_a_file_and_columns_of_any_kind(judge: SyncJudgeClient) -> None:
    """A RuscaRL row whose rubric is an array, with equal ids, a time, and the responses in a column of another name."""
    rubrics = [{"criterion": one["text"], "points": one["points"], "tags": None} for one in RUBRIC]
    frame = pandas.DataFrame(
        {
            "prompt": [[{"role": "user", "content": "Hello?"}]] * 2,
            "reward_model": [{"rubrics": pandas.Series(rubrics).to_numpy(), "ground_truth": float("nan")}] * 2,
            "id": ["same", "same"],
            "at": pandas.to_datetime(["2026-01-01", None]),
            "output": ["a", "b"],
        }
    )
    scored = score_table(judge, frame, response_column="output")
    assert list(scored["score"]) == [expected_score("a"), expected_score("b")]
    assert list(scored.columns[:5]) == list(frame.columns)


def test_a_row_with_responses_gets_a_list(judge: SyncJudgeClient) -> None:
    frame = _frame(responses=[["a", "b"], ["unknown"], ["c"]]).drop(columns="response")
    scored = score_table(judge, frame, prefix="judge_")
    wanted = [[expected_score("a"), expected_score("b")], [None], [expected_score("c")]]
    assert list(scored["judge_score"]) == wanted
    assert list(scored["judge_status"]) == [["ok", "ok"], ["failed"], ["ok"]]


def test_what_cannot_be_scored_is_named_before_anything_is_judged(judge: SyncJudgeClient) -> None:
    wrong = [
        (_frame(rubric=[RUBRIC, [{"text": "Is kind.", "points": "5"}], RUBRIC]), r"row 1 .*`rubric\[0\]\.points`"),
        (_frame(response=["a", None, "c"]), r"row 1 .*no `response` or `responses`"),
        (_frame().drop(columns="prompt"), r"row 0 .*`prompt`"),
        (_frame(score=[1.0, 2.0, 3.0]), r"a column `score` already: take it out, or set `prefix`"),
    ]
    for frame, message in wrong:
        with pytest.raises(DataError, match=message):
            score_table(judge, frame)
    with pytest.raises(TypeError, match=r"a pandas DataFrame or a datasets\.Dataset, not dict"):
        score_table(judge, {"prompt": ["p"]})
    with pytest.raises(TypeError, match="unknown options: modus"):
        score_table(judge, _frame(), modus="verdict")  # type: ignore[call-arg]


def test_an_empty_table_has_the_columns(judge: SyncJudgeClient) -> None:
    scored = score_table(judge, _frame().iloc[:0])
    assert len(scored) == 0 and {"score", "status", "judge"} < set(scored.columns)
