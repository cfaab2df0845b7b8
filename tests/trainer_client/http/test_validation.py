from collections.abc import Callable
from typing import Any

import httpx
import pytest

from testkit.scripted_judge import answered, items, problem, scores
from tests.trainer_client.http.streaming import lines
from trainer_client import errors, wire
from trainer_client.errors import ContractError
from trainer_client.http import validation

Json = dict[str, Any]
REQUEST = wire.ScoreRequest.model_validate({"items": items(3)})


def _asked(response: httpx.Response) -> httpx.Response:
    response.request = httpx.Request("POST", "http://judge/v1/score")
    return response


def _good(request: wire.ScoreRequest = REQUEST) -> Json:
    return scores(request.model_dump(mode="json", exclude_none=True))


def _read(body: Json, request: wire.ScoreRequest = REQUEST) -> wire.ScoreResponse:
    answer = validation.read(_asked(answered(body)), wire.ScoreResponse)
    validation.check(request, answer)
    return answer


def test_a_right_answer_is_read_as_it_stands() -> None:
    assert [result.id for result in _read(_good()).results] == ["0", "1", "2"]


def test_fields_from_the_future_are_ignored() -> None:
    assert _read({**_good(), "news": [1, 2]}).id == "req-1"


def _fewer(body: Json) -> None:
    body["results"].pop()


def _more(body: Json) -> None:
    body["results"].append(body["results"][-1])


def _swapped(body: Json) -> None:
    body["results"][0], body["results"][1] = body["results"][1], body["results"][0]


def _other_criteria(body: Json) -> None:
    body["results"][1]["criteria"].reverse()


def _fewer_criteria(body: Json) -> None:
    body["results"][1]["criteria"].pop()


def _text_for_number(body: Json) -> None:
    body["results"][1]["score"] = "0.5"


def _true_for_number(body: Json) -> None:
    body["results"][1]["score"] = True


def _no_score_field(body: Json) -> None:
    del body["results"][1]["score"]


def _verdict_without_judgement(body: Json) -> None:
    body["results"][1]["criteria"][0].update(status="timeout", met=False)


def _judgement_without_verdict(body: Json) -> None:
    body["results"][1]["criteria"][0].update(met=None)


def _score_below_coverage(body: Json) -> None:
    body["results"][1]["coverage"] = 0.5


def _p_above_one(body: Json) -> None:
    body["results"][1]["criteria"][0]["p"] = 1.7


def _p_below_zero(body: Json) -> None:
    body["results"][1]["criteria"][1]["p"] = -0.1


def _coverage_above_one(body: Json) -> None:
    body["results"][1]["coverage"] = 3.0


def _unknown_status(body: Json) -> None:
    body["results"][1]["status"] = "fine"


def _other_mode(body: Json) -> None:
    body["judge"]["mode"] = "reasoned"


def _other_layout(body: Json) -> None:
    body["judge"]["layout"] = "healthbench"


def _other_batch(body: Json) -> None:
    body["judge"]["batch"] = "all"


@pytest.mark.parametrize(
    "spoil",
    [
        _fewer,
        _more,
        _swapped,
        _other_criteria,
        _fewer_criteria,
        _text_for_number,
        _true_for_number,
        _no_score_field,
        _verdict_without_judgement,
        _judgement_without_verdict,
        _score_below_coverage,
        _p_above_one,
        _p_below_zero,
        _coverage_above_one,
        _unknown_status,
        _other_mode,
        _other_layout,
        _other_batch,
    ],
)
def test_an_answer_that_breaks_the_contract_is_not_used(spoil: Callable[[Json], None]) -> None:
    body = _good()
    spoil(body)
    with pytest.raises(ContractError) as caught:
        _read(body)
    assert caught.value.request_id == "req-1"
    assert not caught.value.retryable


def test_a_batch_is_answered_by_the_judge_of_batches() -> None:
    request = wire.ScoreRequest.model_validate({"items": items(3), "mode": "reasoned", "batch": "all"})
    body = _good(request)
    assert _read(body, request).judge.batch == "all"
    del body["judge"]["batch"]
    with pytest.raises(ContractError, match="requested mode reasoned, layout rubricd, batch all"):
        _read(body, request)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
@pytest.mark.parametrize("field", [b'"score":', b'"p":', b'"coverage":', b'"score_bounds":['])
def test_a_number_that_is_not_finite_is_not_used(field: bytes, number: bytes) -> None:
    content = answered(_good()).content
    at = content.index(field) + len(field)
    end = min(content.index(sign, at) for sign in (b",", b"}") if content.find(sign, at) >= 0)
    spoiled = content[:at] + number + content[end:]
    with pytest.raises(ContractError, match="should be a finite number"):
        validation.read(_asked(httpx.Response(200, content=spoiled)), wire.ScoreResponse)


def test_a_score_that_is_said_twice_is_not_used() -> None:
    content = answered(_good()).content.replace(b'"score":', b'"score":0.5,"score":', 1)
    with pytest.raises(ContractError, match=r"results.0.score: this key stands twice"):
        validation.read(_asked(httpx.Response(200, content=content)), wire.ScoreResponse)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"<html>ok</html>", b'{"results": []}'])
def test_something_else_than_an_answer_is_not_used(content: bytes) -> None:
    with pytest.raises(ContractError, match="not a ScoreResponse"):
        validation.read(_asked(httpx.Response(200, content=content)), wire.ScoreResponse)


def test_another_judge_than_expected_is_not_used() -> None:
    request = REQUEST.model_copy(update={"expect_judge": "judge-2"})
    with pytest.raises(ContractError, match="expected judge judge-2, and judge-1 answered"):
        _read(_good(), request)


def test_what_was_not_judged_passes_with_its_reason() -> None:
    body = _good()
    body["results"][1].update(status="partial", score=None, coverage=0.6)
    body["results"][1]["criteria"][0].update(status="timeout", met=None, p=None)
    assert _read(body).results[1].score is None


PARTS: list[tuple[wire.Unjudged | None, float, str, bool]] = [
    ("lower", 0.2, "partial", True),
    ("lower", 0.3, "partial", False),
    ("lower", 0.2, "failed", False),
    ("middle", 0.5, "partial", True),
    ("middle", 0.9, "partial", False),
    (None, 0.2, "partial", False),
]


@pytest.mark.parametrize(("unjudged", "score", "status", "passes"), PARTS)
def test_a_score_from_part_of_the_rubric_is_what_was_asked_for(
    unjudged: wire.Unjudged | None, score: float, status: str, passes: bool
) -> None:
    request = REQUEST.model_copy(update={"min_coverage": 0.5, "unjudged": unjudged})
    body = _good()
    body["results"][1].update(coverage=0.5, score=score, status=status, score_bounds=[0.2, 0.8])
    if passes:
        assert _read(body, request).results[1].score == score
        return
    with pytest.raises(ContractError, match=r"every counted criterion|`unjudged` says"):
        _read(body, request)


def _rated() -> tuple[wire.ScoreRequest, dict[str, Any]]:
    bare = [{"prompt": "p", "response": "r"}]
    request = wire.ScoreRequest.model_validate({"items": bare, "mode": "likert"})
    body = _good(request)
    rating = {"expected": 7.0, "most_likely": 7, "normalised": 0.7}
    entry = {"id": "rating", "status": "ok", "met": None, "p": None, "p_raw": None, "label_mass": 1.0}
    body["results"][0].update(score=0.7, score_bounds=[0.7, 0.7], rating=rating)
    body["results"][0]["criteria"] = [{**entry, "points": 1.0, "source": "judge"}]
    return request, body


def test_a_rating_is_one_entry_that_is_not_met_or_unmet() -> None:
    request, body = _rated()
    assert _read(body, request).results[0].score == 0.7


@pytest.mark.parametrize(
    ("entry", "result"),
    [
        ({"met": True}, {}),
        ({"id": "0"}, {}),
        ({"status": "abstained"}, {}),
        ({}, {"score": None}),
        ({}, {"rating": None}),
        ({}, {"criteria": []}),
    ],
)
def test_a_rating_that_disagrees_with_itself_is_no_answer(entry: dict[str, Any], result: dict[str, Any]) -> None:
    request, body = _rated()
    body["results"][0]["criteria"][0].update(entry)
    body["results"][0].update(result)
    with pytest.raises(ContractError, match="a rating"):
        _read(body, request)


def test_a_problem_becomes_its_error_with_all_it_says() -> None:
    response = problem("overloaded", 503, retry_after="2.5", errors=[{"loc": ["items", 0], "msg": "no"}])
    error = validation.refusal(_asked(response))
    assert isinstance(error, errors.Overloaded)
    assert (error.status, error.request_id, error.retry_after_s) == (503, "req-9", 2.5)
    assert error.errors == ((("items", 0), "no"),)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7.0), ("0", 0.0), ("-1", None), ("nan", None), ("soon", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_retry_after_is_read_in_seconds_only(said: str, seconds: float | None) -> None:
    assert validation.refusal(_asked(problem("overloaded", 429, retry_after=said))).retry_after_s == seconds


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, ContractError),
        (204, ContractError),
        (307, ContractError),
        (404, ContractError),
        (405, ContractError),
        (400, errors.InvalidRequest),
        (500, errors.Unavailable),
        (502, errors.Unavailable),
        (504, errors.Unavailable),
        (408, errors.Unavailable),
        (501, errors.InternalError),
        (520, errors.Unavailable),
        (524, errors.Unavailable),
    ],
)
def test_a_page_that_is_no_problem_document_is_read_by_its_status(status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        validation.read(_asked(httpx.Response(status, text="<html>nginx</html>")), wire.ScoreResponse)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://judge/v1/score?key=secret", "it sends to https://judge; write that as its url"),
        ("https://me:secret@other.example:8443/", "it sends to https://other.example:8443; write that"),
        ("/login", "there is no rubric judge at this address"),
    ],
)
def test_a_redirect_is_not_followed_and_says_where_it_leads(location: str, said: str) -> None:
    redirect = _asked(httpx.Response(301, headers={"location": location}))
    with pytest.raises(ContractError, match=f"answered 301: {said}") as caught:
        validation.read(redirect, wire.ScoreResponse)
    assert "secret" not in str(caught.value)


def test_places_of_a_refusal_count_in_the_callers_list() -> None:
    places: tuple[errors.Place, ...] = (
        (("items", 1, "rubric"), "a"),
        (("body", "items", 0), "b"),
        (("mode",), "c"),
        (("items",), "d"),
    )
    moved = validation.with_places(errors.InvalidRequest("", errors=places), [40, 42])
    assert isinstance(moved, errors.InvalidRequest)
    assert [loc for loc, _ in moved.errors] == [("items", 42, "rubric"), ("body", "items", 40), ("mode",), ("items",)]


def _streaming(**headers: str) -> validation.StreamReader:
    response = httpx.Response(200, headers={"content-type": "application/x-ndjson", "x-request-id": "req-1", **headers})
    return validation.StreamReader(REQUEST, _asked(response))


def test_a_streamed_answer_is_read_line_by_line_to_its_last() -> None:
    reader = _streaming()
    found = [reader.read(line) for line in lines(_good(), order=[1, 2, 0])]
    assert [None if one is None else (one.index, one.id) for one in found] == [(1, "1"), (2, "2"), (0, "0"), None]
    assert reader.ended
    with pytest.raises(ContractError, match="after the last"):
        reader.read(lines(_good())[-1])


def test_the_last_line_names_the_judge_that_was_expected() -> None:
    reader = validation.StreamReader(
        REQUEST.model_copy(update={"expect_judge": "judge-2"}),
        _asked(httpx.Response(200, headers={"content-type": "application/x-ndjson"})),
    )
    *results, last = lines(_good())
    for line in results:
        reader.read(line)
    with pytest.raises(ContractError, match="expected judge judge-2"):
        reader.read(last)
    assert not reader.ended
