"""The keys of a request's queries: one for equal texts, each text hashed once, none for what is surely too long."""

from dataclasses import replace
from typing import Any

import pytest

from service.cache.key import conversation_digest
from service.engine.fake import FakeEngine
from service.modes.modes import JudgingMode, Query
from service.modes.registry import judging_modes
from service.rubrics.rubric import Candidate, Criterion, Turn
from service.scoring.query_keys import QueryKeys
from service.settings import ModeSettings
from testkit.tokenizer_families import family


@pytest.fixture(scope="module")
def mode() -> JudgingMode:
    return judging_modes(FakeEngine().identity, family("qwen"), ModeSettings())["verdict", "rubricd"]


def candidate(response: str, *criteria: str, prompt: str = "My knee hurts.") -> Candidate:
    found = tuple(Criterion(str(n), text, 1.0) for n, text in enumerate(criteria))
    return Candidate("x", (Turn("user", prompt),), response, found)


async def keys_of(keys: QueryKeys, one: Candidate, vote: int = 0) -> list[bytes | None]:
    return list((await keys.of_run([Query(one, criterion, vote) for criterion in one.criteria])).keys)


async def test_equal_texts_have_one_key_and_others_another(mode: JudgingMode) -> None:
    keys, long = QueryKeys(mode, "team", 4096), "a long criterion " * 100
    first = await keys_of(keys, candidate("Rest it.", "a", "b", "a", long, long))
    again = await keys_of(QueryKeys(mode, "team", 4096), candidate("Rest it.", "a", "b", "a", long, long))
    assert first == again
    assert (first[0], first[3]) == (first[2], first[4])
    assert len({first[0], first[1], first[3]}) == 3
    others = [
        (keys, candidate("Rest it!", "a"), 0),
        (keys, candidate("Rest it.", "a", prompt="My back hurts."), 0),
        (keys, replace(candidate("Rest it.", "a"), reference=""), 0),
        (keys, candidate("Rest it.", "a"), 1),
        (QueryKeys(mode, "another", 4096), candidate("Rest it.", "a"), 0),
    ]
    assert len({first[0], *[(await keys_of(*other))[0] for other in others]}) == 6


@pytest.mark.parametrize(("layout", "keys"), [("rubricd", 1), ("healthbench", 1), ("simple_evals", 2)])
@pytest.mark.parametrize("text", ["Says to rest.", "a long criterion " * 100])
async def test_points_tell_verdicts_apart_where_the_judge_reads_them(layout: str, keys: int, text: str) -> None:
    modes = judging_modes(FakeEngine().identity, family("qwen"), ModeSettings())
    one = Candidate("x", (Turn("user", "?"),), "Rest it.", (Criterion("0", text, 7.0), Criterion("1", text, -7.0)))
    assert len(set(await keys_of(QueryKeys(modes["reasoned", layout], "", 4096), one))) == keys


async def test_a_conversation_is_hashed_once_for_all_responses(
    mode: JudgingMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []

    def counted(*conversation: Any) -> bytes:
        hashed.append(1)
        return conversation_digest(*conversation)

    monkeypatch.setattr("service.scoring.query_keys.conversation_digest", counted)
    keys, one = QueryKeys(mode, "", 4_000_000), candidate("Rest it.", "a", prompt="word " * 100_000)
    runs = [await keys.of_run([Query(replace(one, response=str(n)), one.criteria[0])]) for n in range(100)]
    assert len(hashed) == 1
    assert len({run.group for run in runs}) == 1
    assert len({run.keys[0] for run in runs}) == 100


async def test_what_is_surely_too_long_has_no_key(mode: JudgingMode) -> None:
    keys, long = QueryKeys(mode, "", 1000), "7" * 100_000
    assert await keys_of(keys, candidate(long, "a", "b")) == [None, None]
    assert await keys_of(keys, candidate("Rest it.", "a", prompt=long)) == [None]
    assert await keys_of(keys, replace(candidate("Rest it.", "a"), reference=long)) == [None]
    [first, second] = await keys_of(keys, candidate("Rest it.", long, "b"))
    assert first is None
    assert second is not None
