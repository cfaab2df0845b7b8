"""The glossary is a sorted table with one meaning a term, and words that it replaced are not used again."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^\| (?!term \||---)([^|]+?) \| ([^|]+?) \|$", GLOSSARY, re.M)

# What the glossary says instead is on the right. The log, decisions and the changelog may speak of the past.
REPLACED = {
    r"\b(is|are|be|was|were) let be\b": "ignored",
    r"\banew\b": "again",
    r"\bat hand\b": "available",
    r"\bin peace\b": "undisturbed",
    r"\bhogs?\b": "noisy neighbour",
    r"\bbooks balance\b": "counters reconcile",
    r"\b(let|lets) in\b": "admit",
    r"\bat the door\b": "on arrival",
    r"\b(set|sets|setting) aside\b": "reserve",
    r"\bways? of asking\b": "judging mode",
    r"\bis away\b": "unavailable",
    r"\bmend(s|ed)?\b": "recover",
    r"\bmost_missing\b": "max_missing_fraction",
    r"\bpatience_s\b": "judge_timeout_s",
    r"\bmax_writing\b": "max_concurrent_generations",
    r"\bcheck_room\b": "capacity",
    r"\bcompat_": "protocol_",
    r"\balways true:": "Guarantees:",
}
HISTORY = ("docs/EXPERIMENTS.md", "docs/design/decisions/", "CHANGELOG.md", "tests/contract/test_glossary.py")


def _pages_and_modules() -> list[str]:
    command = ["git", "ls-files", "--", "*.py", "*.md", "Makefile"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("git lists the files of this test")
    return [name for name in listed if not name.startswith(HISTORY) and (ROOT / name).exists()]


def test_the_glossary_is_sorted_and_gives_each_term_one_meaning() -> None:
    names = [name for name, _ in TERMS]
    assert len(names) > 40
    assert names == sorted(names, key=str.lower)
    assert len(names) == len(set(names))
    assert all(meaning.endswith(".") for _, meaning in TERMS)


def test_replaced_words_do_not_come_back() -> None:
    found = []
    for name in _pages_and_modules():
        text = re.sub(r"\s+", " ", (ROOT / name).read_text(encoding="utf-8"))  # a phrase may go over a line's end
        found += [f"{name}: say {standard!r}" for old, standard in REPLACED.items() if re.search(old, text, re.I)]
    assert found == []
