"""A document about several criteria says what it says about each of them, and nothing about the others."""

import json
import random
from typing import Any

import pytest

from service.engine.base import Generation
from service.modes.written_batch import Entry, batch_schema, read_batch

GOOD = {"explanation": "It tells the user to rest.", "criteria_met": True}
WHOLE = json.dumps(GOOD)
CASES = 5_000


def read(text: str, criteria: int = 3, *, finished: bool = True) -> tuple[dict[int, bool], dict[int, str]]:
    found = read_batch(Generation(text, finished, 9), criteria)
    return {one.place: one.met for one in found.entries}, dict(found.why_not)


def document(**entries: Any) -> str:
    return json.dumps(entries)


@pytest.mark.parametrize(
    ("text", "met", "reasons"),
    [
        (document(c1=GOOD, c2=GOOD | {"criteria_met": False}, c3=GOOD), {0: True, 1: False, 2: True}, {}),
        (document(c1=GOOD, c3=GOOD), {0: True, 2: True}, {1: "no entry"}),
        (document(c3=GOOD, c1=GOOD, c4=GOOD, C2=GOOD), {0: True, 2: True}, {1: "no entry"}),
        (f'{{"c1": {WHOLE}, "c1": {WHOLE}, "c2": {WHOLE}}}', {1: True}, {0: "two entries", 2: "no entry"}),
        (document(c1=GOOD | {"criteria_met": "true"}, c2=True, c3=GOOD), {2: True}, {0: "no verdict", 1: "no verdict"}),
        (document(c1=GOOD | {"more": 1}, c2={"criteria_met": True}, c3=GOOD), {2: True}, {0: "no ver", 1: "no ver"}),
        (f'{{"c1": {{"explanation": "a", "explanation": "b", "criteria_met": true}}, "c2": {WHOLE}}}',
         {1: True}, {0: "no verdict", 2: "no entry"}),
        (f'{{"c1": {{"explanation": "\\ud800", "criteria_met": true}}, "c2": {WHOLE}}}',
         {1: True}, {0: "no verdict", 2: "no entry"}),
        (f'{{"c1": {WHOLE}, "c1": {{"explanation": "it', {}, dict.fromkeys(range(3), "")),
        (document(c1=GOOD) + document(c2=GOOD), {}, dict.fromkeys(range(3), "none of its verdicts")),
        (document(c1=GOOD)[:-1] + ", oh no", {0: True}, dict.fromkeys((1, 2), "not JSON")),
        ("I would rather not say.", {}, dict.fromkeys(range(3), "not JSON")),
        ("[" * 100_000, {}, dict.fromkeys(range(3), "not JSON")),
        ('{"c1": ' + "[" * 100_000, {}, dict.fromkeys(range(3), "not JSON")),
        ("{}", {}, dict.fromkeys(range(3), "no entry")),
        ("", {}, dict.fromkeys(range(3), "not JSON")),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_entry_is_wrong_with_that_criterion(
    text: str, met: dict[int, bool], reasons: dict[int, str]
) -> None:
    found, why_not = read(text)
    assert found == met and why_not.keys() == reasons.keys()
    assert all(part in why_not[place] for place, part in reasons.items()), why_not


def test_wherever_a_document_is_cut_the_entries_before_stand_and_no_other_one() -> None:
    text = document(c1=GOOD, c2=GOOD | {"criteria_met": False}, c3=GOOD)
    ends = [text.index('"c2"') - 2, text.index('"c3"') - 2, len(text) - 1]
    for cut in range(len(text)):
        met, why_not = read(text[:cut], finished=False)
        assert met == {place: place != 1 for place in range(3) if cut >= ends[place]}, text[:cut]
        assert all("ran out of tokens" in why_not[place] for place in range(3) if cut < ends[place])


def test_5_000_documents_with_random_faults_say_nothing_that_was_not_written() -> None:
    rng = random.Random(4)
    invented = lost = kept = 0
    for _ in range(CASES):
        criteria = rng.randint(1, 6)
        pairs, expected = _pairs(rng, criteria)
        text = "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in pairs) + "}"
        found, why_not = read(text, criteria)
        kept += len(expected)
        invented += sum(expected.get(place) is not met for place, met in found.items())
        lost += len(expected.keys() - found.keys())
        assert found.keys() | why_not.keys() == set(range(criteria)) and not found.keys() & why_not.keys()
    assert (invented, lost) == (0, 0) and kept > CASES


def _pairs(rng: random.Random, criteria: int) -> tuple[list[tuple[str, str]], dict[int, bool]]:
    """The pairs of a document, and what stands once and whole in it."""
    pairs: list[tuple[str, str]] = []
    expected: dict[int, bool] = {}
    for place in range(criteria):
        met = rng.random() < 0.5
        whole = json.dumps({"explanation": rng.choice(('"c1": true', "}, {", "It rests.", "é")), "criteria_met": met})
        kind = rng.choice(["whole"] * 4 + ["missing", "twice", "other", "unknown"])
        if kind == "whole":
            expected[place] = met
        if kind in ("whole", "twice"):
            pairs += [(f"c{place + 1}", whole)] * (1 if kind == "whole" else 2)
        if kind == "other":
            pairs.append((f"c{place + 1}", rng.choice(["true", "null", "[]", '{"criteria_met": true}', f"[{whole}]"])))
        if kind == "unknown":
            pairs.append((rng.choice([f"c{place + 90}", f"C{place + 1}", f" c{place + 1}", "", "é"]), whole))
    rng.shuffle(pairs)
    return pairs, expected


def test_the_schema_names_each_criterion_once_and_in_order() -> None:
    schema = json.loads(batch_schema(3, 50))
    assert list(schema["properties"]) == schema["required"] == ["c1", "c2", "c3"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["c2"]["properties"]["explanation"]["maxLength"] == 50


def test_an_entry_is_written_as_it_is_read() -> None:
    entry = Entry(1, 'It says "rest" é\n', False)
    assert read("{" + entry.whole + "}") == ({1: False}, {0: read("{}")[1][0], 2: read("{}")[1][0]})
    assert entry.whole.startswith(entry.opening) and entry.opening.startswith('"c2": {"explanation": "')
