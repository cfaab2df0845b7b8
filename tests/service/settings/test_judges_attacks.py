"""Files of judges that were made to break the start: each is read in under a few seconds, or refused in a sentence."""

import time
import tracemalloc
from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.settings.judges_file import read_judges
from tests.service.settings.test_judges_file import written

FAKE = "{engine: fake}"
LEAVES = f"  a: {FAKE}\n  b: {FAKE}\n"
BOMB = "x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
DOUBLED = "".join(
    f"  p{n}: {{panel: [p{n + 1}, q{n + 1}]}}\n  q{n}: {{panel: [q{n + 1}, p{n + 1}]}}\n" for n in range(30)
)

QUOTES = "a judge's name is a text: write it in quotes"

REFUSED = {
    "a number as a name": (
        f"judges:\n  1: {FAKE}\n",
        f"line 2, `judges[1]`: {QUOTES}",
    ),
    "a truth as a name": (f"judges:\n  true: {FAKE}\n", QUOTES),
    "nothing as a name": (f"judges:\n  null: {FAKE}\n", QUOTES),
    "a date as a name": (f"judges:\n  2024-01-01: {FAKE}\n", QUOTES),
    "a list as a name": (f"judges:\n  [a, b]: {FAKE}\n", QUOTES),
    "a mapping as a name": (f"judges:\n  {{a: b}}: {FAKE}\n", "line 2: not YAML"),
    "a number as a member": (
        f"judges:\n  p: {{panel: [a, 2]}}\n{LEAVES}",
        f"line 2, `judges.p.panel[1]`: {QUOTES}",
    ),
    "letters of others": (f"judges:\n  ärger: {FAKE}\n", "has at most 64 of the characters"),
    "a name of two lines": (f'judges:\n  "a\\n": {FAKE}\n', "has at most 64 of the characters"),
    "a name that runs": (f'judges:\n  "a$(id)": {FAKE}\n', "has at most 64 of the characters"),
    "a name with a path": (f"judges:\n  ../a: {FAKE}\n", "has at most 64 of the characters"),
    "a tab": (f"judges:\n\ta: {FAKE}\n", "line 2: not YAML: found character '\\t'"),
    "a byte that is none": (f"judges:\n  a\0: {FAKE}\n", "holds a character that YAML does not allow"),
    "a panel of one": (
        f"judges:\n  p: {{panel: [a]}}\n{LEAVES}",
        "`judges.p.panel`: List should have at least 2",
    ),
    "a panel of itself": (f"judges:\n  p: {{panel: [p, a]}}\n{LEAVES}", "`p` is made of itself"),
    "a shadow of itself through another": (
        f"judges:\n  s: {{shadow: t, of: a, share: 1}}\n  t: {{shadow: b, of: s, share: 1}}\n{LEAVES}",
        "`s` is made of itself",
    ),
    "a circle of routes": (
        f"judges:\n  r: {{routed: [{{tag: x, judge: q}}], default: a}}\n  q: {{panel: [r, b]}}\n{LEAVES}",
        "`r` is made of itself",
    ),
    "100 judges": ("judges:\n" + "".join(f"  j{n}: {FAKE}\n" for n in range(100)), "at most 64 items"),
    "2^30 questions": (f"judges:\n{DOUBLED}  p30: {FAKE}\n  q30: {FAKE}\n", "may ask 128 judges about one criterion"),
    "a key twice": ("judges:\n  a: {engine: fake, engine: local}\n", "line 2: a name stands twice in one mapping"),
    "a key twice beside a merge key": (
        "judges:\n  a: &a {engine: fake}\n  b: {<<: *a, prompt: bare, prompt: question}\n",
        "line 3: a name stands twice in one mapping",
    ),
    "a section twice": (f"judges:\n  a: {FAKE}\njudges:\n  b: {FAKE}\n", "line 3: a name stands twice in one mapping"),
    "aliases of aliases": (
        f"{BOMB}judges:\n  a: {{engine: fake, chat_template_kwargs: {{x: *x8}}}}\n",
        "stands for more than 100,000 values",
    ),
    "an alias inside of itself": (
        "judges:\n  a: &a {engine: fake, chat_template_kwargs: {x: *a}}\n",
        "stands inside of what it stands for",
    ),
    "brackets without end": (f"judges: {'[' * 3000}\n", "cannot be read as YAML (RecursionError)"),
    "a call of Python": ("judges: !!python/object/apply:os.system ['id']\n", "line 1: not YAML"),
    "two documents": (f"judges:\n  a: {FAKE}\n---\njudges:\n  b: {FAKE}\n", "line 3: not YAML"),
    "a key of another service": (
        "judges:\n  a: {engine: rubricd, url: 'http://h', key: s3cret}\n",
        "did you mean `key_env`?",
    ),
    "two kinds at once": (
        f"judges:\n  p: {{panel: [a, b], engine: fake}}\n{LEAVES}",
        "`judges.p.engine`: there is no",
    ),
    "a word as a judge": ("judges:\n  a: fake\n", "line 2, `judges.a`"),
}

READ = {
    "an alias": (f"judges:\n  a: &a {FAKE}\n  b: *a\n", ["a", "b"]),
    "a merge key": (f"judges:\n  a: &a {FAKE}\n  b: {{<<: *a, prompt: bare}}\n", ["a", "b"]),
    "words of YAML 1.1": (f"judges:\n  yes: {FAKE}\n  on: {FAKE}\n", ["yes", "on"]),
    "words of the file": (
        f"judges:\n  judge: {FAKE}\n  panel: {FAKE}\n  judges: {FAKE}\n",
        ["judge", "panel", "judges"],
    ),
    "names that differ in case": (f"judges:\n  a: {FAKE}\n  A: {FAKE}\n", ["a", "A"]),
    "marks of editors": (f"\ufeffjudges:\r\n  a: {FAKE}\r\n", ["a"]),
}


@pytest.mark.parametrize("attack", REFUSED)
def test_of_30_attacks_each_is_refused_in_one_sentence_and_in_time(attack: str, tmp_path: Path) -> None:
    text, said = REFUSED[attack]
    began_s = time.process_time()
    with pytest.raises(ConfigurationError) as error:
        read_judges(written(tmp_path, text))
    assert said in str(error.value) and "s3cret" not in str(error.value)
    assert "\n" not in str(error.value) and time.process_time() - began_s < 10
    assert len(REFUSED) == 30


@pytest.mark.parametrize("name", READ)
def test_what_looks_odd_and_is_meant_is_read(name: str, tmp_path: Path) -> None:
    text, judges = READ[name]
    assert list(read_judges(written(tmp_path, text)).judges) == judges


def test_64_judges_and_a_chain_of_60_panels_are_read(tmp_path: Path) -> None:
    many = "judges:\n" + "".join(f"  j{n}: {FAKE}\n" for n in range(64))
    assert len(read_judges(written(tmp_path, many)).in_order()) == 64
    chain = "".join(f"  p{n}: {{panel: [p{n + 1}, a]}}\n" for n in range(60))
    found = read_judges(written(tmp_path, f"judges:\n{chain}  p60: {FAKE}\n  a: {FAKE}\n"))
    assert found.in_order()[-1] == "p0" and found.must_judge == ["p0"]


def test_of_a_file_without_end_no_more_is_read_than_judges_need(tmp_path: Path) -> None:
    endless = tmp_path / "judges.yaml"
    with endless.open("wb") as file:
        file.truncate(200_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigurationError, match="larger than 500000 bytes"):
            read_judges(endless)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
