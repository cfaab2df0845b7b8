"""Instructions as verifiers, against the labelled set's own rules on every response of the set."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import regex
from jsonschema import Draft202012Validator

import labelled
from labelled.__main__ import main
from labelled.instructions import WHOLE, Instruction, instructions, rows
from labelled.rules import RULES
from labelled.topics import TOPICS
from service.verifiers.cheap import CHEAP
from trainer_client import wire

FOLDER = Path(labelled.__file__).parent
# The instruction, the rule of the labelled set, its option, and whether it is its contrary.
SAME: dict[str, tuple[str, tuple[Any, ...], bool]] = {
    "first word": ("first word", ("Honestly",), False),
    "heading": ("heading", (), False),
    "bullet points": ("bullet points", (), False),
    "numbered steps": ("numbered steps", (), False),
    "paragraphs": ("paragraphs", (), False),
    "no comma": ("comma", (), True),
    "exclamation mark": ("exclamation mark", (), False),
    "parentheses": ("parentheses", (), False),
    "placeholder": ("placeholder", (), False),
    "bold": ("bold", (), False),
    "capitals": ("capitals", (), False),
    "small letters": ("small letters", (), False),
    "last words": ("last words", ("Good luck",), False),
    "postscript": ("postscript", (), False),
    "digits": ("digits", (), False),
    "quotation marks": ("quotation marks", (), False),
    "JSON": ("JSON", (), False),
}


def responses() -> set[str]:
    found = set()
    for name in ("train", "held_out", "unseen_topics"):
        with gzip.open(FOLDER / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            found |= {_response(json.loads(line)) for line in file}
    return found


def _response(row: dict[str, Any]) -> str:
    return str(row.get("item", row)["response"])


def decides(one: Instruction, response: str) -> bool:
    """As the service's rules do, which search by the library `regex`."""
    rule = one.verifier
    if rule["rule"] == "regex":
        return regex.search(rule["pattern"], response) is not None
    if rule["rule"] == "json_schema":
        try:
            return Draft202012Validator(rule["schema"]).is_valid(json.loads(response))
        except ValueError:
            return False
    return CHEAP[rule["rule"]](rule, response)


def test_a_verifier_decides_as_the_labelled_sets_own_rule() -> None:
    rules = {rule.name: rule for rule in RULES}
    texts = responses()
    both = {"word": ("word", False), "no word": ("word", True)}
    tried, wrong, met = 0, [], Counter[str]()
    for topic in TOPICS[::6]:
        word = topic.words[0]
        own = {**SAME, **{kind: (name, (word,), contrary) for kind, (name, contrary) in both.items()}}
        for one in instructions(word, 40):
            if one.kind not in own:
                continue
            name, option, contrary = own[one.kind]
            for text in texts:
                truth = rules[name].holds(text, *option) != contrary
                met[one.kind] += truth
                tried += 1
                if decides(one, text) != truth:
                    wrong.append((one.kind, text))
    assert tried > 40_000 and wrong == [], tried
    assert all(met[kind] for kind in own if kind != "first word"), "each is met by some response"


def test_the_file_is_what_the_module_makes_and_the_contract_takes(tmp_path: Path) -> None:
    made = list(rows())
    assert len(made) == 72 and len({row["id"] for row in made}) == 72
    for row in made:
        wire.Item.model_validate({**row, "response": ""})
    assert main(["instructions", "--out", str(tmp_path / "made.jsonl")]) == 0
    assert (tmp_path / "made.jsonl").read_bytes() == (FOLDER / "instructions.jsonl").read_bytes()


def test_instructions_of_a_row_are_about_parts_of_their_own() -> None:
    place = {one.kind: one.place for one in instructions("oven", 40)}
    kinds = Counter[str]()
    for row in rows():
        given = [one["tags"]["instruction"] for one in row["rubric"]]
        places = [place[kind] for kind in given]
        assert len(set(places)) == len(places) and (WHOLE not in places or len(places) == 1)
        kinds.update(given)
    assert set(kinds) == set(place), "each kind is given somewhere"
