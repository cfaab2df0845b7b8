"""A plan file is read whole and strictly, or refused with the place of what is wrong."""

import json
from typing import Any

import pytest

from trainer_client import wire

_SHARE = {"value": 0.5, "low": 0.4, "high": 0.6}


def plan_document() -> dict[str, Any]:
    judge = {"model": "m", "mode": "verdict", "layout": "rubricd", "prompt": None}
    return {
        "format": "rubricd-cascade-1",
        "judges": [
            {**judge, "name": "small", "fingerprint": "a", "band": {"low": 0.2, "high": 0.8}},
            {**judge, "name": "large", "fingerprint": "b", "band": None},
        ],
        "promise": {"kind": "loss", "level": 0.01, "delta": 0.05, "prompts": 600, "p_value": 0.04},
        "data": {"digest": "0" * 64, "prompts": 900, "criteria": 5400},
        "agreement": _SHARE,
        "saves": {
            **dict.fromkeys(("last_judge", "last_judge_responses", "tokens"), _SHARE),
            "seconds": None,
            "money": None,
        },
    }


def test_what_is_written_is_read() -> None:
    plan = wire.read_cascade_plan(json.dumps(plan_document()).encode())
    assert wire.read_cascade_plan(wire.write_cascade_plan(plan).encode()) == plan
    band = plan.judges[0].band
    assert band is not None
    assert [band.holds(p) for p in (0.19, 0.2, 0.5, 0.8, 0.81)] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda it: it.update(format="rubricd-cascade-2"), "format"),
        (lambda it: it.update(more=1), "more: Extra inputs are not permitted"),
        (lambda it: it["judges"][0].update(band={"low": 0.8, "high": 0.2}), "`low` must not be above `high`"),
        (lambda it: it["judges"][0]["band"].update(low=-0.1), "judges.0.band.low"),
        (lambda it: it["judges"][0]["band"].update(low="0.1"), "judges.0.band.low"),
        (lambda it: it["judges"][1].update(band={"low": 0.2, "high": 0.8}), "the last judge has a `band`"),
        (lambda it: it["judges"][1].update(name="small"), "two judges have one name"),
        (lambda it: it["judges"].pop(), "judges: Tuple should have at least 2 items"),
        (lambda it: it["promise"].update(delta=1.0), "promise.delta"),
    ],
)
def test_what_is_wrong_is_named(change: Any, why: str) -> None:
    document = plan_document()
    change(document)
    with pytest.raises(ValueError, match=why.replace("(", r"\(")):
        wire.read_cascade_plan(json.dumps(document).encode())


def test_what_is_no_json_is_named() -> None:
    with pytest.raises(ValueError, match="it is not JSON that can be read"):
        wire.read_cascade_plan(b'{"a": 1, "a": 2}')
