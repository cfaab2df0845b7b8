"""A person opens the page in a real browser, writes, scores responses with the bundled judge and sees why."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from testkit.browser import opened
from testkit.processes import ROOT, Running
from trainer_client import wire

READY = "#judge:has-text('fingerprint')"


@pytest.fixture
def page(browser: Browser, bundled: Running) -> Iterator[Page]:
    with opened(browser, bundled.url) as page:
        page.wait_for_selector(READY)
        yield page


def scored(page: Page) -> dict[str, Any]:
    """Presses Score; returns what was sent, once the answer is shown."""
    with page.expect_response("**/v1/score") as answered:
        page.click("#go")
    page.wait_for_selector("#go:enabled")
    assert page.locator("#answer .spent").count() == 1, page.inner_text("#answer")
    sent: Any = answered.value.request.post_data_json
    assert isinstance(sent, dict)
    return sent


def rubric(page: Page, text: str) -> None:
    if page.is_hidden("#paste-box"):
        page.click("#paste")
    page.fill("#paste-text", text)
    page.click("#paste-read")
    page.wait_for_selector("#paste-said:not(:empty)")


def shares(page: Page) -> list[float]:
    texts = page.locator(".step:not(.heads):not(.sum) .share > .n").all_inner_texts()
    return [float(text.replace("−", "-")) for text in texts if text != "not counted"]


def test_the_result_says_why(page: Page) -> None:
    scored(page)
    reward = float(page.inner_text(".score"))
    assert shares(page) == pytest.approx([7 / 12, 3 / 12, 0, -5 / 12], abs=1e-3)
    assert reward == pytest.approx(sum(shares(page)), abs=2e-3) == pytest.approx(5 / 12, abs=1e-3)
    assert page.inner_text(".step.sum .share > .n") == page.inner_text(".score")
    bars = page.locator("svg.steps rect")
    assert [bars.nth(at).get_attribute("class") for at in range(5)] == ["gain", "gain", "still", "loss", "total"]
    assert page.locator("svg.probability").count() == 4 and page.locator("svg.axis").count() == 1
    assert "100 % of the points judged" in page.inner_text(".coverage")
    assert "fingerprint" in page.inner_text(".spent")
    scored(page)
    assert page.locator(".step .chip:has-text('cache')").count() == 4, "where each verdict is from"


def test_a_group_has_its_mean_its_spread_and_its_advantages(page: Page) -> None:
    page.select_option("#examples", label="A group of four, as GRPO sees it")
    sent = scored(page)
    assert len(sent["items"][0]["responses"]) == 4
    rewards = [float(text) for text in page.locator(".group tfoot tr").nth(0).locator("td").all_inner_texts()]
    shown = page.locator(".group tfoot tr").nth(1).locator("td").all_inner_texts()
    mean = sum(rewards) / 4
    std = (sum((reward - mean) ** 2 for reward in rewards) / 3) ** 0.5
    advantages = [float(text.replace("−", "-")) for text in shown]
    names = page.locator("svg.spread text").all_text_contents()
    assert sorted("".join(names).replace(" ", "")) == ["A", "B", "C", "D"], "each reward has its name on the axis"
    assert advantages == pytest.approx([(reward - mean) / (std + 1e-4) for reward in rewards], abs=0.01)
    assert f"standard deviation {std:.3f}"[:-1] in page.inner_text("#group-said")
    assert page.locator(".group tr.flips").count() >= 1
    page.click("[aria-label='Show why response C got its score']")
    assert page.inner_text("#why-title") == "Why response C has this reward"
    assert float(page.inner_text(".score")) == rewards[2]


def test_a_group_of_equal_rewards_is_said_to_teach_nothing(page: Page) -> None:
    page.click("#add-response")
    page.fill("#response-1", page.input_value("#response-0"))
    scored(page)
    assert "every advantage is 0" in page.inner_text(".group .notice")
    page.click("[aria-label='Remove response B']")
    assert page.locator("#responses textarea").count() == 1


def test_a_conversation_has_several_turns(page: Page) -> None:
    page.click("#add-turn")
    page.keyboard.type("Where exactly?")
    page.click("#add-turn")
    page.keyboard.type("On the left.")
    sent = scored(page)["items"][0]["prompt"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert sent[1:] == [{"role": "assistant", "content": "Where exactly?"}, {"role": "user", "content": "On the left."}]
    page.click("[aria-label='Remove turn 2']")
    assert page.locator("#turns textarea").count() == 2


def test_a_criterion_has_every_field(page: Page) -> None:
    rubric(page, "5: Names a doctor.")
    page.click("[aria-label='Criterion 1: more fields']")
    box = page.locator(".criterion").first
    box.get_by_label("Category").select_option("essential")
    box.get_by_label("Tags").fill("axis: accuracy, kind: factual, seen")
    box.get_by_label("Id", exact=True).fill("doctor")
    box.get_by_label("Meeting it is").select_option("negative")
    box.get_by_label("Decided by").select_option("contains")
    box.get_by_label("text", exact=True).fill("doctor")
    box.get_by_label("ignore case").uncheck()
    box.get_by_label("looks at").select_option("all")
    assert box.get_attribute("data-sign") == "fault"
    page.fill("[aria-label='Criterion 1: points']", "-2.5")
    page.click("#add-criterion")
    page.keyboard.type("Is kind.")
    sent = scored(page)["items"][0]["rubric"]
    tags = {"category": "essential", "axis": "accuracy", "kind": "factual", "seen": ""}
    verifier = {"rule": "contains", "text": "doctor", "ignore_case": False, "on": "all"}
    first = {"text": "Names a doctor.", "points": -2.5, "tags": tags, "id": "doctor", "polarity": "negative"}
    assert sent == [{**first, "verifier": verifier}, {"text": "Is kind.", "points": 1}]
    page.click("[aria-label='Remove criterion 1']")
    assert page.locator(".criterion").count() == 1


def test_levels_are_written_one_a_line(page: Page) -> None:
    rubric(page, "4: Names causes.")
    page.click("[aria-label='Criterion 1: more fields']")
    page.get_by_label("The judge says").select_option("levels")
    page.fill("textarea[id$=-levels]", "0: Names none.\n0.5: Names one.\nNames both.")
    assert "Line 3 has no value in front" in page.inner_text("[id$=-levels-hint]")
    page.fill("textarea[id$=-levels]", "0: Names none.\n0.5: Names one.\n1: Names both.")
    assert page.inner_text("[id$=-levels-hint]") == ""
    levels = [("Names none.", 0), ("Names one.", 0.5), ("Names both.", 1)]
    assert first_criterion(page)["levels"] == [{"text": text, "value": value} for text, value in levels]


def first_criterion(page: Page) -> dict[str, Any]:
    code(page, "JSON")
    found: dict[str, Any] = json.loads(page.inner_text("#snippet"))["items"][0]["rubric"][0]
    return found


def test_a_criterion_asks_for_choices_or_for_a_value(page: Page) -> None:
    """Each request is one that the service takes: it names no field of it, though the bundled judge answers none."""
    rubric(page, "4: Recommends something.")
    page.click("[aria-label='Criterion 1: more fields']")
    page.get_by_label("The judge says").select_option("choices")
    page.fill("textarea[id$=-choices]", "1: Rest.\n1: Exercise.\n0: Neither.")
    assert [one["value"] for one in first_criterion(page)["choices"]] == [1, 1, 0]
    page.get_by_label("The judge says").select_option("extract")
    page.get_by_label("It extracts").select_option("choice")
    page.get_by_label("The values to choose from, one a line").fill("rest\nexercise")
    page.get_by_label("What the judge looks for").fill("What the response recommends.")
    page.get_by_label("Met where it passes").select_option("exact")
    page.get_by_label("gold", exact=True).fill("rest")
    sent = first_criterion(page)
    rule = {"rule": "exact", "gold": "rest"}
    about = "What the response recommends."
    assert sent["extract"] == {"type": "choice", "instructions": about, "rule": rule, "choices": ["rest", "exercise"]}
    assert "choices" not in sent and "verifier" not in sent
    assert wire.Criterion.model_validate(sent).extract is not None
    page.reload()
    assert first_criterion(page)["extract"] == sent["extract"], "it survives a reload"
    page.click("[aria-label='Criterion 1: more fields']")
    page.get_by_label("The judge says").select_option("met")
    assert first_criterion(page).keys() == {"text", "points"}


@pytest.mark.parametrize(
    ("pasted", "read", "points"),
    [
        ("5: A.\n[2] B.\n−3 C\n   of two lines.", "Read 3 criteria as lines of points and text.", ["5", "2", "-3"]),
        ('{"criteria": [{"text": "A.", "points": 1}]}', "Read 1 criterion as rubricd.", ["1"]),
        ('{"prompt": "Hi", "rubrics": [{"criterion": "A.", "points": 7, "tags": ["axis:x"]}]}', "HealthBench", ["7"]),
        ('{"question": "Hi", "rubric": [{"description": "A.", "weight": 5, "title": "t"}]}', "Rubrics as", ["5"]),
        ('{"question": "Hi", "rubrics": [{"description": "A.", "weight": 2, "tags": {"a": "b"}}]}', "RubricHub", ["2"]),
    ],
)
def test_a_rubric_of_any_format_is_pasted(page: Page, pasted: str, read: str, points: list[str]) -> None:
    rubric(page, pasted)
    assert read in page.inner_text("#paste-said")
    assert [page.input_value(f"[aria-label='Criterion {n}: points']") for n in range(1, len(points) + 1)] == points
    if "Hi" in pasted:
        assert page.input_value("#turns textarea") == "Hi", "the row's conversation comes along"


def test_what_cannot_be_read_is_said_and_changes_nothing(page: Page) -> None:
    rubric(page, "Names a doctor.")
    assert "line 1 names no points" in page.inner_text("#paste-said")
    assert page.locator(".criterion").count() == 4


def test_a_rubric_that_is_too_long_is_said_to_be(page: Page) -> None:
    rubric(page, "\n".join(f"{n + 1}: Names cause {n}." for n in range(1000)))
    assert "It was not read: 1000 criteria; this service takes at most" in page.inner_text("#paste-said")
    assert page.locator(".criterion").count() == 4


def test_the_lint_speaks_as_one_types_and_fixes_on_a_click(page: Page) -> None:
    rubric(page, "5: Names a doctor.")
    page.fill("[aria-label^='Criterion 1: a statement']", "Names   a doctor.")
    finding = page.locator(".criterion .findings li")
    finding.first.wait_for()
    assert "nobody sees" in finding.first.inner_text()
    finding.first.get_by_role("button").click()
    page.wait_for_selector(".criterion .findings li", state="detached")
    assert page.input_value("[aria-label^='Criterion 1: a statement']") == "Names a doctor."


def code(page: Page, language: str) -> None:
    if not page.evaluate("document.getElementById('code').open"):
        page.click("#code summary")
    page.click(f"#languages button:has-text('{language}')")


def test_every_option_is_sent_and_its_default_is_not(page: Page) -> None:
    assert scored(page).keys() == {"items", "priority"}
    served = page.locator("#first-mode option:not([disabled])").all_inner_texts()
    assert served == ["verdict", "implicit", "likert"]
    page.select_option("#first-aggregation", "caps")
    page.fill("#first-aggregation-cap", "0.5")
    page.select_option("#first-reasoning", "tags")
    page.fill("#first-open", "<t>")
    page.fill("#first-close", "</t>")
    page.click("#options summary")
    page.check("#first-soft")
    page.fill("#first-threshold", "0.4")
    page.check("#first-consistency")
    page.fill("#first-min_coverage", "0.5")
    page.select_option("#first-unjudged", "lower")
    page.select_option("#first-pitfalls", "met_is_bad")
    page.select_option("#first-cache", "bypass")
    sent = scored(page)
    del sent["items"]
    assert sent == {
        "priority": "interactive",
        "aggregation": {"name": "caps", "cap": 0.5},
        "reasoning": {"open": "<t>", "close": "</t>"},
        "soft": True,
        "threshold": 0.4,
        "consistency": 2,
        "min_coverage": 0.5,
        "unjudged": "lower",
        "pitfalls": "met_is_bad",
        "cache": "bypass",
    }
    assert "It is no sum" in page.inner_text(".why"), "no shares where there are none"
    page.select_option("#first-mode", "implicit")
    assert scored(page)["mode"] == "implicit"
    assert re.search(r"Rated [\d.]+ of 10, most likely|Not rated: ", page.inner_text("#answer"))


@pytest.mark.parametrize("aggregation", ["healthbench_clipped", "weighted_abs", "mean", "rar_explicit"])
def test_shares_add_up_to_the_reward_in_every_sum(page: Page, aggregation: str) -> None:
    page.select_option("#first-aggregation", aggregation)
    scored(page)
    assert sum(shares(page)) == pytest.approx(float(page.inner_text(".score")), abs=3e-3)


def test_two_ways_of_judging_stand_beside_each_other(page: Page) -> None:
    page.click("#compare")
    page.select_option("#second-aggregation", "min")
    scored(page)
    assert "0 of 4 verdicts flip, and the reward changes by −0.417." in page.inner_text("#pair-said")
    assert page.locator(".pair thead th").all_inner_texts() == ["Criterion", "verdict · healthbench", "verdict · min"]
    page.click("#compare")
    scored(page)
    assert page.locator(".pair").count() == 0


def test_the_request_as_code_runs(page: Page, bundled: Running) -> None:
    page.select_option("#examples", label="Rubrics as Rewards, with categories")
    code(page, "Python")
    done = subprocess.run([sys.executable, "-c", page.inner_text("#snippet")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "Scored(" in done.stdout, done.stderr
    code(page, "curl")
    done = subprocess.run(page.inner_text("#snippet"), shell=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["results"][0]["status"] == "ok"
    code(page, "TRL")
    compile(page.inner_text("#snippet"), "snippet", "exec")
    assert f'reward_function("{bundled.url}", aggregation=' in page.inner_text("#snippet")
    code(page, "JSON")
    assert json.loads(page.inner_text("#snippet"))["aggregation"] == {"name": "rar_explicit"}


def test_text_survives_a_reload_and_travels_in_a_link(browser: Browser, page: Page, bundled: Running) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("#response-0", "Ärger & <b>Mühe</b> 👩‍🚀")
    page.select_option("#first-aggregation", "min")
    page.click("#share")
    page.wait_for_selector("#share:has-text('Copied')")
    link = page.evaluate("navigator.clipboard.readText()")
    page.reload()
    assert page.input_value("#response-0") == "Ärger & <b>Mühe</b> 👩‍🚀"
    with opened(browser, link) as other:
        other.wait_for_selector("#response-0")
        assert other.input_value("#response-0") == "Ärger & <b>Mühe</b> 👩‍🚀"
        other.wait_for_selector(READY)
        assert other.input_value("#first-aggregation") == "min"
        assert other.url == f"{bundled.url}/", "a reload keeps what was changed since"
    page.fill("#response-0", "Mine.")
    page.evaluate("link => { location.hash = new URL(link).hash }", link)
    page.wait_for_function("() => document.getElementById('response-0').value.startsWith('Ärger')")


def test_a_warning_about_the_response_is_shown(page: Page) -> None:
    page.fill("#response-0", "<think>Ignore the pain.</think>Drink ginger tea.")
    scored(page)
    told = page.locator(".warnings p").all_inner_texts()
    assert len(told) == 1 and told[0].startswith("reasoning_kept: ")
    assert page.inner_text("#toy") == "This judge is a toy: believe none of its verdicts."


def test_ctrl_and_enter_scores_from_anywhere(page: Page) -> None:
    """The second of the ten tasks, in its own steps."""
    tasks = (ROOT / "docs" / "tutorial" / "ten-tasks.md").read_text(encoding="utf-8")
    assert "2. Choose an example.\n3. Press Ctrl+Enter.\n" in tasks
    page.select_option("#examples", index=3)
    page.focus("#response-0")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".score")
