"""What is written is kept, sent as a link and brought back. What is kept or sent in no good form does no harm."""

import base64
import json
import random
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from testkit.browser import opened
from tests.e2e.scripted_page import URL, ScriptedPage
from trainer_client import wire

READY = "#judge:has-text('fingerprint f')"
PLACE = "rubricd.playground"
EXAMPLE = "I have a stiff neck. What should I do?"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with opened(browser, "about:blank") as page:
        ScriptedPage(page).open()
        page.wait_for_selector(READY)
        yield page


def link(state: object) -> str:
    packer = zlib.compressobj(9, wbits=-15)
    data = packer.compress(json.dumps(state).encode()) + packer.flush()
    return f"{URL}#s={base64.urlsafe_b64encode(data).decode().rstrip('=')}"


def follow(page: Page, address: str) -> None:
    """As a person who opens a link in a tab that has the page already."""
    page.evaluate("address => { location.hash = new URL(address).hash }", address)


def keep(page: Page, state: object) -> None:
    page.evaluate("([place, text]) => localStorage.setItem(place, text)", [PLACE, json.dumps(state)])
    page.reload()
    page.wait_for_selector(READY)


def request(page: Page) -> dict[str, Any]:
    if not page.evaluate("document.getElementById('code').open"):
        page.click("#code summary")
    page.click("#languages button:has-text('JSON')")
    found: dict[str, Any] = json.loads(page.inner_text("#snippet"))
    return found


def one(**fields: Any) -> dict[str, Any]:
    return {"rubric": [{"text": "A.", "points": 1, **fields}]}


@pytest.mark.parametrize(
    "state",
    [
        5,
        "text",
        [1],
        {"turns": [None], "responses": [{"a": 1}, None]},
        {"rubric": [None, "a", 5]},
        {"rubric": [{"text": 5, "points": 1}]},
        {"options": {"aggregation": None, "reasoning": None, "judge": {"a": 1}, "mode": "constructor"}},
        {"options": {"aggregation": {"name": {"a": {}}}}, "second": 5},
        one(points="x", id={"a": 1}, polarity="up", tags={"category": {}, "__proto__": "x"}),
        one(levels=5),
        one(choices=[None, {"text": 1, "value": "x"}]),
        one(extract={"type": "choice", "choices": 5, "rule": "x"}),
        one(verifier={"rule": {"rule": "__proto__"}}),
    ],
)
def test_whatever_is_kept_the_page_opens(page: Page, state: Any) -> None:
    keep(page, state)
    page.fill("#turns textarea >> nth=0", "Hi")
    page.click("[aria-label='Criterion 1: more fields']")
    assert request(page)["items"][0].keys() >= {"prompt", "response"}
    page.fill("[aria-label^='Criterion 1: a statement']", "Names a doctor.")
    page.fill("[aria-label='Criterion 1: points']", "2")
    page.click("#go")
    page.wait_for_selector("#answer .spent")


def test_every_field_of_a_criterion_is_kept(page: Page) -> None:
    options = [{"text": "None.", "value": 0}, {"text": "All.", "value": 1}]
    rule = {"rule": "exact", "gold": "rest"}
    rubric: list[dict[str, Any]] = [
        {"text": "A.", "points": -2.5, "tags": {"axis": "x", "seen": ""}, "id": "a", "polarity": "negative"},
        {"text": "B.", "points": 1, "verifier": {"rule": {"rule": "length", "min": 3, "unit": "words"}}},
        {"text": "C.", "points": 1, "levels": options},
        {"text": "D.", "points": 1, "choices": options},
        {"text": "E.", "points": 1, "extract": {"type": "choice", "instructions": "x", "rule": rule, "choices": ["a"]}},
    ]
    assert {name for row in rubric for name in row} == set(wire.Criterion.model_fields)
    aggregation = {"name": "rar_explicit", "category_weights": {"pitfall": 0.8}}
    told = {"aggregation": aggregation, "soft": True, "threshold": 0.4, "reasoning": {"open": "<t>", "close": "</t>"}}
    state = {"turns": [{"role": "system", "content": "S"}], "responses": ["", "b"], "reference": "r", "rubric": rubric}
    keep(page, {**state, "options": told})
    sent = request(page)
    assert sent == {
        "items": [{"prompt": state["turns"], "responses": ["", "b"], "rubric": rubric, "reference": "r"}],
        "priority": "interactive",
        **told,
    }


def test_a_link_that_was_cut_or_is_none_is_said_to_be(page: Page) -> None:
    page.fill("#response-0", "Mine.")
    whole = link({"turns": [{"role": "user", "content": " ".join(map(str, range(300)))}]})
    for bad in (whole[: len(whole) // 2], f"{URL}#s=", f"{URL}#s=%%%", link(5), link("a" * 50_000_000)):
        page.evaluate("document.getElementById('told').hidden = true")
        follow(page, bad)
        page.wait_for_selector("#told:has-text('This link was cut or is damaged')")
        assert page.input_value("#response-0") == "Mine." and page.url == URL
    follow(page, whole)
    page.wait_for_function("document.querySelector('#turns textarea').value.endsWith('299')")
    assert page.is_hidden("#told")


def test_what_a_link_replaces_is_brought_back(page: Page) -> None:
    assert page.is_hidden("#restore")
    page.fill("#response-0", "Mine.")
    follow(page, link({"turns": [{"role": "user", "content": "Linked."}], "responses": ["Theirs."]}))
    page.wait_for_function("document.getElementById('response-0').value === 'Theirs.'")
    page.click("#restore")
    assert page.input_value("#response-0") == "Mine." and page.input_value("#turns textarea") == EXAMPLE
    page.click("#restore")
    assert page.input_value("#response-0") == "Theirs."


def test_what_an_example_or_a_paste_replaces_is_brought_back_even_after_a_reload(page: Page) -> None:
    page.select_option("#examples", "1")
    assert page.is_hidden("#restore"), "an example that nobody changed is no loss"
    page.fill("#response-1", "Mine.")
    page.select_option("#examples", label="Nothing: an empty page")
    assert page.input_value("#turns textarea") == page.input_value("#response-0") == ""
    assert page.locator(".criterion").count() == 1
    page.reload()
    page.wait_for_selector(READY)
    assert page.input_value("#response-0") == "", "the empty page is kept, too"
    page.click("#restore")
    assert page.input_value("#response-1") == "Mine."


def test_a_tab_in_which_nothing_was_changed_overwrites_nothing(page: Page) -> None:
    idle = page.context.new_page()
    ScriptedPage(idle).open()
    idle.wait_for_selector(READY)
    page.fill("#response-0", "Written in the other tab.")
    page.wait_for_function("place => localStorage.getItem(place)?.includes('other tab')", arg=PLACE)
    idle.reload()
    idle.wait_for_selector(READY)
    assert idle.input_value("#response-0") == "Written in the other tab."
    idle.close()
    page.reload()
    assert page.input_value("#response-0") == "Written in the other tab."


def test_a_browser_without_room_says_so(page: Page) -> None:
    page.evaluate(
        "() => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') } }"
    )
    page.fill("#response-0", "Mine.")
    page.wait_for_selector("#told:has-text('This browser does not keep what stands here')")


def test_a_browser_that_forbids_to_keep_anything_still_judges(browser: Browser) -> None:
    with opened(browser, "about:blank") as page:
        page.add_init_script(
            "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError') } })"
        )
        ScriptedPage(page).open()
        page.wait_for_selector(READY)
        page.click("#go")
        page.wait_for_selector(".score")


def test_a_link_that_is_too_long_for_others_is_said_to_be(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    letters = random.Random(0)
    page.fill("#response-0", "".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=20_000)))
    page.click("#share")
    page.wait_for_selector("#told:has-text('Programs for chat and mail often cut such a link')")
    page.wait_for_selector("#share:has-text('Copied')")
    page.fill("#response-0", "".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=2_000_000)))
    page.click("#share")
    page.wait_for_selector("#told:has-text('Nothing was copied.')")


def test_a_criterion_without_points_is_not_sent(page: Page) -> None:
    points = page.locator("[aria-label='Criterion 2: points']")
    points.fill("")
    assert points.get_attribute("aria-invalid") == "true"
    assert "best +9, worst −5" in page.inner_text("#rubric-sum")
    page.click("#go")
    page.wait_for_selector(".refusal:has-text('Criterion 2 has no points: write a number beside it.')")
    points.fill("3")
    assert points.get_attribute("aria-invalid") is None
    page.click("#go")
    expect(page.locator(".score")).to_be_visible()


def test_thousands_of_lines_are_pasted(page: Page) -> None:
    lines = [f"{n + 1}: Names cause {n}." for n in range(10_000)]
    page.evaluate(
        """text => {
          const field = document.getElementById('response-0'), before = field.value;
          field.value = text;
          field.select();
          document.execCommand('copy');
          field.value = before;
        }""",
        "\n".join(lines),
    )
    page.click("#paste")
    page.keyboard.press("Control+V")
    page.wait_for_function("document.getElementById('paste-text').value.length > 0")
    assert page.input_value("#paste-text").split("\n") == lines
    page.fill("#response-0", "")
    page.focus("#response-0")
    page.keyboard.press("Control+V")
    page.wait_for_function("document.getElementById('response-0').value.length > 0")
    page.click("#go")
    page.wait_for_selector(".score")
