"""The glossary is a sorted table with one meaning for each term."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^\| (?!term \||---)([^|]+?) \| ([^|]+?) \|$", GLOSSARY, re.M)


def test_the_glossary_is_sorted_and_gives_each_term_one_meaning() -> None:
    names = [name for name, _ in TERMS]
    assert len(names) > 40
    assert names == sorted(names, key=str.lower)
    assert len(names) == len(set(names))
    assert all(meaning.endswith(".") for _, meaning in TERMS)
