"""A drawing has one box a judge, whatever names, models and rules say."""

import random
import re
from dataclasses import replace

from service.engine.base import EngineIdentity
from service.judges.diagram import flowchart
from service.modes.fingerprint import JudgeIdentity

HOSTILE = [
    'a"] --> b["x',
    'a\n  click j0 href "javascript:alert(1)"',
    "<img src=x onerror=alert(1)>",
    "`**bold**`",
    "#quot;] end",
    "%%{init: {'securityLevel': 'loose'}}%%\r\n",
    "\u202egnorw\u2028j9[x]",
    "&lt;b&gt;;",
    'a\\"]',
    "",
    "x" * 5_000,
]
BOX = re.compile(r'  j\d+\["[^"<>&`\\\n]*(?:<br>[^"<>&`\\\n]*)+"\]')


def _judge(rng: random.Random, members: tuple[JudgeIdentity, ...] = ()) -> JudgeIdentity:
    facts = {"kind": "panel", "members": "x", rng.choice(["rule", *HOSTILE]): rng.choice(HOSTILE)}
    identity = EngineIdentity(rng.choice(HOSTILE), "", rng.choice(["panel", *HOSTILE]), facts)
    fingerprint, name = rng.choice(["0f", *HOSTILE]), rng.choice([None, *HOSTILE])
    return JudgeIdentity(identity, "verdict", "rubricd", None, (), (), 0.0, fingerprint, "", name=name, members=members)


def test_of_2000_hostile_judges_none_draws_more_than_its_box() -> None:
    rng = random.Random(0)
    for _ in range(2_000):
        members = tuple(_judge(rng) for _ in range(rng.randrange(4)))
        lines = flowchart(_judge(rng, members)).split("\n")
        assert lines[0] == "flowchart TD" and len(lines) == 2 + 2 * len(members)
        boxes = [line for line in lines[1:] if " --> " not in line or '"' in line]
        arrows = [line for line in lines[1:] if re.fullmatch(r"  j\d+ --> j\d+", line)]
        assert len(boxes) == 1 + len(members) == 1 + len(arrows)
        assert all(BOX.fullmatch(line) for line in boxes), boxes


def test_what_is_harmless_is_shown_as_it_is() -> None:
    small = _judge(random.Random(0))
    identity = EngineIdentity("Qwen/Qwen3-4B", "", "local", {})
    small = replace(small, identity=identity, fingerprint="0f3a", name="klein-ä")
    rule = EngineIdentity("both", "", "panel", {"kind": "panel", "members": "0f3a", "rule": "mean", "quorum": "1"})
    both = replace(small, identity=rule, fingerprint="9c1b", name="both", members=(small,))
    assert flowchart(both).split("\n") == [
        "flowchart TD",
        '  j0["both<br>panel<br>rule mean<br>quorum 1<br>9c1b"]',
        '  j1["klein-ä<br>Qwen/Qwen3-4B<br>0f3a"]',
        "  j0 --> j1",
    ]
