import pickle

import pytest

import service.errors
from trainer_client import errors
from trainer_client.errors import RubricdClientError, refused


def _tree(kind: type[RubricdClientError]) -> list[type[RubricdClientError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _tree(child))]


KINDS = _tree(RubricdClientError)


def test_the_drawn_tree_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = [word for line in errors.__doc__.splitlines() for word in line.split()[:3] if word[0].isupper()]
    assert sorted({kind.__name__ for kind in KINDS} - set(drawn)) == []


def test_codes_are_distinct() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)


def test_what_may_be_retried() -> None:
    assert {kind.code for kind in KINDS if kind.retryable} == {
        "still_running",
        "quota_exceeded",
        "overloaded",
        "unavailable",
        "answer_lost",
        "incomplete",
        "transport",
        "connect_failed",
        "answer_timed_out",
        "connection_broken",
    }


def _refusals(kind: type[service.errors.RubricdError]) -> list[type[service.errors.RubricdError]]:
    """Those with a code of their own; `Later` is only what several have in common."""
    # `not_judged` is said on other trainers' routes only, which this client never asks.
    own = [kind] if "code" in vars(kind) and kind is not service.errors.NotJudged else []
    return own + [found for child in kind.__subclasses__() for found in _refusals(child)]


@pytest.mark.parametrize("theirs", _refusals(service.errors.RequestError), ids=lambda kind: kind.code)
def test_every_refusal_of_the_service_is_known_and_retried_where_the_service_says_so(
    theirs: type[service.errors.RubricdError],
) -> None:
    ours = refused(theirs.code, 400, "")
    assert (type(ours).code, ours.retryable) == (theirs.code, theirs.retryable)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (413, errors.BodyTooLarge),
        (429, errors.Overloaded),
        (500, errors.InternalError),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
    ],
)
def test_an_unknown_code_keeps_its_name_and_is_read_by_its_status(status: int, kind: type[errors.Refused]) -> None:
    error = refused("brand_new", status, "detail")
    assert type(error) is kind
    assert error.code == "brand_new"
    assert type(refused(None, status, "detail")) is kind


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_an_error_survives_a_process_boundary(kind: type[RubricdClientError]) -> None:
    error = kind("what happened", request_id="req-1", retry_after_s=2.5)
    error.attempts = 3
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 (a round trip within the test)
    assert type(copy) is kind
    assert (str(copy), copy.code, copy.request_id, copy.retry_after_s, copy.attempts) == (
        "what happened (request req-1)",
        kind.code,
        "req-1",
        2.5,
        3,
    )


def test_a_refusal_says_where() -> None:
    places = tuple((("items", n, "rubric"), "too long") for n in range(5))
    assert str(refused("invalid_request", 422, "not valid", errors=places)) == (
        "not valid; items.0.rubric: too long; items.1.rubric: too long; items.2.rubric: too long; and 2 more"
    )


def test_a_sentence_that_a_place_says_is_said_once() -> None:
    error = refused("invalid_request", 422, "leave it out", errors=((("consistency",), "leave it out"),))
    assert str(error) == "consistency: leave it out"
