"""The page of a plan says what was promised, and can be read by day, by night and on a narrow screen."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from testkit.browser import Scheme, axe_problems, opened, too_wide
from tests.trainer_client.cascade.shared import two_judges
from trainer_client import wire
from trainer_client.cascade.page import as_json, lines, page
from trainer_client.cascade.planning import Planned, Wanted, as_wire, plan
from trainer_client.cascade.spending import Cost

NAME = "<b>small</b>"


@pytest.fixture(scope="module")
def planned() -> tuple[wire.CascadePlan, Planned]:
    found = plan(two_judges(3, 900), (Cost(tokens=10), Cost(tokens=100)), Wanted("agreement", 0.95, 0.05))
    judge = wire.Judge(model="m", revision="r", engine="fake", mode="verdict", layout="rubricd", fingerprint="a")
    judges = [(NAME, judge), ("large", judge.model_copy(update={"fingerprint": "b"}))]
    return as_wire(found, judges, "0" * 64), found


def test_it_says_what_was_promised_and_escapes_names(planned: tuple[wire.CascadePlan, Planned]) -> None:
    text = page(*planned)
    assert "With probability 0.95 the cascade agrees with at least 0.95 of the labels" in text
    assert "&lt;b&gt;small" in text and NAME not in text
    assert "None" not in text and "nan" not in text
    for found in planned[1].tested:
        assert f"{found.last:.1%}" in text


def test_the_lines_and_the_json_have_the_same_figures(planned: tuple[wire.CascadePlan, Planned]) -> None:
    said, found = "\n".join(lines(*planned)), as_json(*planned)
    tokens = planned[1].saves["tokens"]
    assert f"{tokens.value:.3f} [{tokens.low:.3f}, {tokens.high:.3f}]" in said
    assert found["saves"]["tokens"] == tokens.as_json()  # type: ignore[index]
    assert "seconds of all judges" not in said, "nobody measured them"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_the_page_in_a_browser(
    browser: Browser, planned: tuple[wire.CascadePlan, Planned], tmp_path: Path, scheme: Scheme, width: int
) -> None:
    file = tmp_path / "plan.html"
    file.write_text(page(*planned), encoding="utf-8")
    with opened(browser, "about:blank", width=width, height=900, scheme=scheme) as shown:
        asked: list[str] = []
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(file.as_uri())
        assert len(asked) == 1
        assert too_wide(shown) == []
        assert axe_problems(shown) == []
