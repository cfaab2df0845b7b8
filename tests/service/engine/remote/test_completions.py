import copy
import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.engine.base import LabelLogprobs, Prompt
from service.engine.remote.completions import read_labels
from service.engine.upstream.label_bound import MAX_WIDTH, NO_MASS, read_logprobs
from service.errors import EngineFailed, Unparseable

PROMPTS = [Prompt((1, 2, 3), (4,)), Prompt((1, 2, 3), (5, 6)), Prompt((), (7,))]
LABELS = (10, 20)


def choice(index: int, met: float, unmet: float) -> dict[str, Any]:
    top = {"token_id:10": math.log(met), "token_id:20": math.log(unmet), "token_id:30": math.log(0.01)}
    return {"index": index, "text": "x", "logprobs": {"tokens": ["token_id:10"], "top_logprobs": [top]}}


def answer() -> dict[str, Any]:
    choices = [choice(i, met, 0.9 - met) for i, met in enumerate([0.2, 0.4, 0.6])]
    return {"choices": choices, "usage": {"prompt_tokens": 10}}


def read_all(body: Any, texts: tuple[str, str] | None = None) -> list[Any]:
    return list(read_labels(body, PROMPTS, LABELS, texts, 20))


def mets(outcomes: list[Any]) -> list[float]:
    return [round(math.exp(outcome.logprobs[0]), 6) for outcome in outcomes]


def test_choices_are_matched_by_their_index() -> None:
    body = answer()
    assert mets(read_all(body)) == [0.2, 0.4, 0.6]
    body["choices"].reverse()
    assert mets(read_all(body)) == [0.2, 0.4, 0.6]


@pytest.mark.parametrize("indexes", [[0, 1], [0, 1, 2, 3], [0, 1, 1], [0, 1, 3], [-1, 0, 1], [0, 1, True], [0, 1, "2"]])
def test_choices_that_are_not_one_to_one_are_not_read(indexes: list[Any]) -> None:
    with pytest.raises(EngineFailed):
        read_all({"choices": [choice(index, 0.2, 0.7) for index in indexes]})


@pytest.mark.parametrize(
    "body", [None, [], {}, {"choices": None}, {"choices": 3}, {"choices": [1, 2, 3]}, {"error": {"message": "x"}}]
)
def test_what_is_no_answer_is_not_read(body: Any) -> None:
    with pytest.raises(EngineFailed):
        read_all(body)


def test_other_prompt_tokens_than_were_sent_are_not_read() -> None:
    body = answer()
    body["usage"]["prompt_tokens"] = 13
    with pytest.raises(EngineFailed, match="13 prompt tokens where 10"):
        read_all(body)
    del body["usage"]
    assert mets(read_all(body)) == [0.2, 0.4, 0.6]


@pytest.mark.parametrize(("told", "total"), [(7, 7), (10, 10), (99, 10), (0, 0), (-3, 0), (None, 0), ("7", 0)])
def test_cached_tokens_add_up_to_what_the_server_told(told: Any, total: int) -> None:
    body = answer()
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": told}
    outcomes = read_all(body)
    assert sum(outcome.cached_tokens for outcome in outcomes) == total
    assert all(outcome.cached_tokens <= len(prompt) for outcome, prompt in zip(outcomes, PROMPTS, strict=True))


BAD_TOPS: list[Any] = [
    None,
    [],
    [None],
    [{}],
    [[]],
    [{"token_id:10": math.log(0.5), "token_id:20": math.nan}],
    [{"token_id:10": math.log(0.5), "token_id:20": -math.inf}],
    [{"token_id:10": math.log(0.5), "token_id:20": None}],
    [{"token_id:10": math.log(0.5), "token_id:20": "-1.0"}],
    [{"token_id:10": math.log(0.5), "token_id:20": True}],
    [{"token_id:10": False, "token_id:20": -9999.0}],
    [{"token_id:10": math.log(0.5), "token_id:20": 0.5}],
    [{"token_id:10": math.log(0.5), "token_id:20": 1e6}],
    [{"token_id:10": math.log(0.7), "token_id:20": math.log(0.7)}],
    [{"token_id:10": math.log(0.5), "token_id:20": math.log(0.1), " other": math.log(0.1)}],
    [{"token_id:10": math.log(0.5)}, {"token_id:20": math.log(0.4)}],
]


@pytest.mark.parametrize("top", BAD_TOPS, ids=lambda top: repr(top)[:60])
def test_a_choice_without_a_distribution_fails_alone(top: Any) -> None:
    body = answer()
    body["choices"][1]["logprobs"]["top_logprobs"] = top
    outcomes = read_all(json.loads(json.dumps(body)))
    assert [type(outcome) for outcome in outcomes] == [LabelLogprobs, EngineFailed, LabelLogprobs]
    assert mets([outcomes[0], outcomes[2]]) == [0.2, 0.6]


def test_tokens_named_by_text_are_read_only_where_that_was_asked_for() -> None:
    body = answer()
    for one in body["choices"]:
        top = one["logprobs"]["top_logprobs"][0]
        one["logprobs"]["top_logprobs"] = [{" yes": top["token_id:10"], " no": top["token_id:20"], "x": -9.0}]
    assert mets(read_all(copy.deepcopy(body), (" yes", " no"))) == [0.2, 0.4, 0.6]
    outcomes = read_all(body)
    assert all(isinstance(outcome, EngineFailed) and "`remote_token_ids`" in str(outcome) for outcome in outcomes)


def test_a_label_that_cannot_matter_is_read_as_none_and_one_that_can_is_not_read() -> None:
    top = {"yes": math.log(0.97)} | {f"t{i}": math.log(0.001) for i in range(19)}
    assert read_logprobs(top, ("yes", "no"), 20) == (math.log(0.97), NO_MASS)
    assert read_logprobs(top, ("no", "yes"), 20) == (NO_MASS, math.log(0.97))
    # Too few to be sure that they are the most likely ones: all of the rest may be one token's.
    few = dict(list(top.items())[:13])
    assert 1 - sum(map(math.exp, few.values())) == pytest.approx(0.018)
    assert read_logprobs(few, ("yes", "no"), 20)[1] == NO_MASS
    with pytest.raises(Unparseable, match="not among the top 20"):
        read_logprobs(dict(list(top.items())[:9]), ("yes", "no"), 20)
    with pytest.raises(Unparseable, match="not among the top 20"):
        read_logprobs(top, ("maybe", "no"), 20)
    with pytest.raises(Unparseable, match="not among the top 20"):
        read_logprobs({"yes": math.log(0.03)} | {f"t{i}": math.log(0.001) for i in range(19)}, ("yes", "no"), 20)


def test_a_sampled_token_from_below_the_top_does_not_tighten_the_bound() -> None:
    top = {"yes": math.log(0.4)} | {f"t{i}": math.log(0.02) for i in range(4)} | {"sampled": math.log(1e-6)}
    with pytest.raises(Unparseable):
        read_logprobs(top, ("yes", "no"), 5)


def test_a_sum_that_rounds_to_one_is_no_proof_that_nothing_is_left() -> None:
    top = {"a": math.log(0.5), "b": math.log(0.5), "yes": math.log(1e-18)}
    with pytest.raises(Unparseable):
        read_logprobs(top, ("yes", "no"), 2)
    assert read_logprobs(top | {"no": math.log(1e-18)}, ("yes", "no"), 2)[0] == math.log(1e-18)


weights = st.lists(st.floats(1e-9, 1.0), min_size=4, max_size=40)


@given(weights, st.integers(1, 25), st.integers(0, 3), st.integers(0, 3), st.data())
def test_no_read_is_farther_from_the_truth_than_the_width(
    shares: list[float], top_k: int, met: int, unmet: int, data: st.DataObject
) -> None:
    assume(met != unmet)
    skew = data.draw(st.floats(1.0, 12.0))
    raw = [share**skew for share in shares]
    truth = [share / sum(raw) for share in raw]
    assume(min(truth) > 1e-300)
    ranked = sorted(range(len(truth)), key=lambda token: -truth[token])
    shown = {*ranked[:top_k], data.draw(st.sampled_from(ranked))}
    reported = {str(token): math.log(truth[token]) for token in shown}
    try:
        logprobs = read_logprobs(reported, (str(met), str(unmet)), top_k)
    except Unparseable:
        assert not {met, unmet} <= shown
        return
    p = math.exp(logprobs[0]) / (math.exp(logprobs[0]) + math.exp(logprobs[1]))
    expected = truth[met] / (truth[met] + truth[unmet])
    assert p == pytest.approx(expected, abs=1e-9 if {met, unmet} <= shown else MAX_WIDTH)
