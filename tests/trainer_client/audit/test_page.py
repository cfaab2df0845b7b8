"""The page says what was found, escapes what it shows and needs nothing else."""

import re
from html.parser import HTMLParser

from tests.trainer_client.audit import judges
from trainer_client import wire
from trainer_client.audit.askings import audit_rows
from trainer_client.audit.audit import as_json, audit
from trainer_client.audit.page import page


def test_every_check_has_its_verdict_and_every_measure_its_interval() -> None:
    done = judges.audited(judges.agreeable)
    text = page(done)
    for one in done.findings:
        assert re.search(rf'<h2>{one.check.name} <span class="badge[a-z -]*">{one.verdict}</span>', text)
        for estimate in one.estimates:
            assert estimate.mean is not None
            assert f"{estimate.mean:.3f}".replace("-0.000", "0.000").replace("-", "−") in text
    assert "Audit of scripted" in text and "fingerprint f00d" in text
    assert "24</b><span>responses to 24 prompts" in text


def test_a_text_of_a_row_is_escaped_and_nothing_is_loaded() -> None:
    items = judges.items()
    criteria = [{"text": f"Names w{n}x0 <script>alert({n})</script>", "points": 1} for n in range(24)]
    rows = [
        wire.Item.model_validate({**one.model_dump(exclude_none=True), "rubric": [criterion]})
        for one, criterion in zip(items, criteria, strict=True)
    ]
    chosen = audit_rows(rows, 24)
    text = page(audit(judges.JUDGE, chosen, judges.answers(judges.agreeable, chosen.rows), {}))
    assert "&lt;script&gt;alert(" in text and "<script" not in text
    assert not re.search(r"(?:src|href)=|url\(|@import", text)
    _Balanced().check(text)


def test_without_an_answer_there_is_no_number() -> None:
    chosen = audit_rows(judges.items(), 24)
    done = audit(judges.JUDGE, chosen, {}, {"timeout": 3})
    assert done.verdict == "not run"
    text = page(done)
    assert "<svg" not in text and "the judge gave no verdict on one side of every pair" in text
    assert "3 verdicts are missing: timeout." in text


def test_json_holds_every_number_and_no_text_of_the_rows() -> None:
    found = as_json(judges.audited(judges.agreeable))
    assert (found["verdict"], found["rows"], found["prompts"], found["asked"]) == ("fail", 24, 24, 288)
    (negation,) = (one for one in found["checks"] if one["name"] == "negation")
    assert negation["measures"][1] == {
        "name": "contradictions",
        "about": "share of the criteria that are met together with their negation, or neither",
        "limit": 0.1,
        "good": "low",
        "verdict": "fail",
        "mean": 1.0,
        "interval_95": None,
        "why": "no_spread",
        "pairs": 144,
        "prompts": 24,
        "missing": 0,
    }
    assert "w1x1" not in str(found)


class _Balanced(HTMLParser):
    """Every element that is opened is closed, in order."""

    def check(self, text: str) -> None:
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "br", "line", "rect", "circle"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass
