"""Tests of `judges.yaml`: what is accepted, and what is said of each mistake."""

from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.settings.judges_file import read_judges

GOOD = """
judges:
  both:
    panel: [a, b]
    quorum: 1
  a: {engine: fake}
  b: {engine: fake, prompt: bare}
  routed:
    routed:
      - {tag: "theme:math", judge: b}
      - {language: de, longer_than: 100, judge: a}
    default: both
"""

WRONG = {
    "no such field, and the nearest one": (
        "judges:\n  a:\n    engine: fake\n    promt: bare\n",
        "line 4, `judges.a.promt`: there is no such field; did you mean `prompt`?",
    ),
    "a field of a composition": (
        "judges:\n  a: {engine: fake}\n  b: {engine: fake}\n  p:\n    panel: [a, b]\n    quorun: 2\n",
        "line 6, `judges.p.quorun`: there is no such field; did you mean `quorum`?",
    ),
    "a field of a route": (
        "judges:\n  a: {engine: fake}\n  r:\n    routed:\n    - judge: a\n      tags: x\n    default: a\n",
        "line 6, `judges.r.routed[0].tags`: there is no such field; did you mean `tag`?",
    ),
    "a member that is no judge": (
        "judges:\n  p:\n    panel:\n    - small\n    - big\n  smal: {engine: fake}\n  big: {engine: fake}\n",
        "line 4, `judges.p.panel[0]`: `small` is no judge of this file; did you mean `smal`?",
    ),
    "a required judge that there is not": (
        "judges:\n  main: {engine: fake}\nrequired: [mian]\n",
        "line 3, `required[0]`: `mian` is no judge of this file; did you mean `main`?",
    ),
    "a circle": (
        "judges:\n  p: {panel: [q, a]}\n  q: {panel: [p, a]}\n  a: {engine: fake}\n",
        "line 2, `judges.p`: `p` is made of itself; leave it out of its members",
    ),
    "a quorum that cannot be reached": (
        "judges:\n  p: {panel: [a, b], quorum: 3}\n  a: {engine: fake}\n  b: {engine: fake}\n",
        "line 2, `judges.p`: `quorum` is 3, and the panel has 2 members; lower it",
    ),
    "a member twice": (
        "judges:\n  p: {panel: [a, a]}\n  a: {engine: fake}\n",
        "line 2, `judges.p`: a member stands twice in this panel, which would count its verdict twice; name it once",
    ),
    "a route without a condition": (
        "judges:\n  r: {routed: [{judge: a}], default: a}\n  a: {engine: fake}\n",
        "line 2, `judges.r.routed[0]`: a route needs a condition: `tag`, `language` or `longer_than`",
    ),
    "no default": ("judges:\n  r: {routed: [{judge: a, tag: x}]}\n  a: {engine: fake}\n", "`default` is missing"),
    "a key in the file": (
        "judges:\n  a: {engine: remote, remote_key: s3cret}\n",
        "line 2, `judges.a`: a key does not belong in this file: name its environment variable as `remote_key_env`",
    ),
    "a name": ("judges:\n  a b: {engine: fake}\n", "a judge's name has at most 64 of the characters"),
    "a name twice": ("judges:\n  a: {engine: fake}\n  a: {engine: fake}\n", "line 3: a name stands twice"),
    "a switch for a number": (
        "judges:\n  a: {engine: fake, max_model_len: true}\n",
        "line 2, `judges.a.max_model_len`: a number belongs here, and not true or false",
    ),
    "a switch for a share": (
        "judges:\n  s: {shadow: b, of: a, share: true}\n  a: {engine: fake}\n  b: {engine: fake}\n",
        "line 2, `judges.s.share`: a number belongs here, and not true or false",
    ),
    "no YAML": ("judges: [\n", "line 2: not YAML"),
    "no mapping": ("- a\n", "begin it with `judges:`"),
    "nothing": ("", "begin it with `judges:`"),
    "no judge": ("judges: {}\n", "line 1, `judges`"),
    "a judge without settings": ("judges:\n  a:\n", "line 2, `judges.a`"),
}


def written(folder: Path, text: str) -> Path:
    file = folder / "judges.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_names_judges_and_what_is_made_of_them(tmp_path: Path) -> None:
    found = read_judges(written(tmp_path, GOOD))
    assert list(found.judges) == ["both", "a", "b", "routed"]
    assert found.in_order() == ["a", "b", "both", "routed"]
    assert found.must_judge == ["routed"]


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_has_its_place_and_what_to_change(mistake: str, tmp_path: Path) -> None:
    text, said = WRONG[mistake]
    with pytest.raises(ConfigurationError) as error:
        read_judges(written(tmp_path, text))
    assert said in str(error.value)
    assert "s3cret" not in str(error.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"line 2, .*; line 3, "):
        read_judges(written(tmp_path, "judges:\n  a: {engin: fake}\n  b: {engine: fake, lable: x}\n"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"judges: \xff")
    (tmp_path / "long.yaml").write_text("#" * 600_000)
    for name, why in (("none.yaml", "No such file"), ("bytes.yaml", "byte 8 is not UTF-8"), ("long.yaml", "larger")):
        with pytest.raises(ConfigurationError, match=why):
            read_judges(tmp_path / name)
