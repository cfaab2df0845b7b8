"""A chat judge's documents are votes, criterion by criterion: what is missing in one is missing there alone."""

import json
import random
from typing import Any

import pytest

from service.engine.base import Document, Documents, EngineIdentity, GenerationQuery, LabelLogprobs, Prompt, ReadsTexts
from service.errors import EngineFailed, JudgementError, Refused, Unparseable
from service.modes.modes import Query
from service.modes.served_modes import BATCHED
from service.modes.text_batches import TextBatchedMode
from service.modes.text_modes import text_modes
from service.rubrics.judgement import BatchVerdict, Verdict
from service.rubrics.rubric import Candidate, Criterion, Turn
from service.settings import ModeSettings

PROMPT = Prompt((1,), (2,))
CASES = 2_000


def mode_of(documents: str = "5 votes") -> TextBatchedMode:
    identity = EngineIdentity("m", "r", "chat", {"asked": "m"})
    found = text_modes(identity, ReadsTexts(True, documents=documents), ModeSettings()).ways[BATCHED]
    assert isinstance(found, TextBatchedMode)
    return found


def query(criteria: int, vote: int = 0) -> Query:
    asked = tuple(Criterion(f"id {n}", f"Criterion {n}.", 1.0) for n in range(criteria))
    return Query(Candidate("0", (Turn("user", "My knee hurts."),), "Rest it.", asked), None, vote, criteria)


def read(votes: list[Document | JudgementError], criteria: int) -> tuple[Verdict | JudgementError, ...]:
    mode = mode_of()
    found = mode.next_step(mode.first_step(PROMPT, query(criteria)), Documents(tuple(votes)))
    assert isinstance(found, BatchVerdict)
    return found.verdicts


def test_2000_polls_with_random_faults_say_what_the_votes_say_or_why_not() -> None:
    rng = random.Random(6)
    invented = given = missing = 0
    for _ in range(CASES):
        criteria = rng.randint(1, 4)
        cast: list[list[bool]] = [[] for _ in range(criteria)]
        votes: list[Document | JudgementError] = []
        count = rng.choice([1, 3, 5])
        for _ in range(count):
            if rng.random() < 0.15:
                votes.append(rng.choice([Refused("no"), EngineFailed("down")]))
                continue
            entries: dict[str, Any] = {}
            for place in range(criteria):
                met = rng.random() < 0.5
                if rng.random() < 0.8:
                    entries[f"c{place + 1}"] = {"explanation": f"{met}", "criteria_met": met}
                    cast[place].append(met)
                else:
                    entries[f"c{place + 1}"] = rng.choice([None, {"criteria_met": met}, met])
            votes.append(Document(json.dumps(entries), finished=True))
        for place, one in enumerate(read(votes, criteria)):
            said, absent = cast[place], count - len(cast[place])
            least, most = sum(said) / count >= 0.5, (sum(said) + absent) / count >= 0.5
            if isinstance(one, Verdict):
                given += 1
                invented += least is not most or not said or abs(one.p_met - sum(said) / len(said)) > 1e-12
                invented += one.explanation not in {None, str(least)} or one.label_mass is not None
            else:
                missing += 1
                invented += bool(said) and least is most
    assert invented == 0 and given > CASES and missing > CASES / 4


def test_a_cut_document_keeps_the_entries_before_the_cut() -> None:
    whole = json.dumps({f"c{n}": {"explanation": "x", "criteria_met": True} for n in (1, 2)})
    first, second = read([Document(whole[: whole.index('"c2"') + 9], finished=False)], 2)
    assert first == Verdict(1.0, None, "x") and isinstance(second, Unparseable) and "ran out" in str(second)


def test_a_vote_of_the_request_is_one_document_with_its_seed() -> None:
    mode = mode_of()
    asked = [mode.first_step(PROMPT, query(3, vote)).query for vote in (0, 2)]
    for one, (seed, temperature) in zip(asked, [(0, 0.0), (2, ModeSettings().vote_temperature)], strict=True):
        assert isinstance(one, GenerationQuery)
        assert (one.sampling.seed, one.sampling.temperature) == (seed, temperature)
        assert one.sampling.max_tokens == 3 * ModeSettings().reasoned_tokens
        assert list(json.loads(one.sampling.json_schema or "")["properties"]) == ["c1", "c2", "c3"]


def test_how_documents_are_asked_for_is_part_of_the_fingerprint() -> None:
    assert mode_of().judge.batch == "all" and mode_of().judge.fingerprint != mode_of("3 votes").judge.fingerprint


def test_anything_else_than_documents_is_no_verdict() -> None:
    mode = mode_of()
    with pytest.raises(Unparseable):
        mode.next_step(mode.first_step(PROMPT, query(1)), LabelLogprobs((-0.1, -3.0)))
