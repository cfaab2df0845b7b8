"""The pages' headers, addresses and sizes. tests/e2e/test_playground.py and test_live.py open them in a browser."""

import re

import pytest

from testkit.apps import fake_settings, serving

MOST_BYTES = 150_000
PAGES = ("/", "/live")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_nothing_and_is_framed_by_nobody(path: str) -> None:
    async with serving() as client:
        page = await client.get(path)
    policy = page.headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["frame-ancestors"] == "'none'"
    assert rules["script-src"].count("'sha256-") == page.text.count("<script>") == 1
    assert rules["style-src"].count("'sha256-") == page.text.count("<style>") == 1
    assert "unsafe" not in policy
    assert page.headers["x-frame-options"] == "DENY" and page.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_has_nothing_that_its_policy_forbids(path: str) -> None:
    async with serving() as client:
        text = (await client.get(path)).text
    assert not re.findall(
        r"<[^>]*\sstyle=|<[^>]*\son[a-z]+=|<script [^>]|<style [^>]|innerHTML|insertAdjacent|eval\(", text
    )
    assert not re.findall(r"^(?:import|export) ", text, re.MULTILINE), "one script"


@pytest.mark.parametrize("path", PAGES)
async def test_a_pages_addresses_are_relative(path: str) -> None:
    async with serving() as client:
        text = (await client.get(path)).text
    asked = re.findall(r"""(?:ask|askJson|fetch|href|src)(?:\(|=)["'`]([^"'`]*)""", text)
    assert asked and not [one for one in asked if one.startswith(("/", "http"))]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_small_and_whole_in_one_answer(path: str) -> None:
    """The playground has about 85 kB, the live view about 20."""
    async with serving() as client:
        page = await client.get(path)
    assert len(page.content) <= MOST_BYTES
    assert not re.findall(r"url\(|@import|<link (?!rel=\"icon\" href=\"data:,\")|<img|<iframe", page.text)


async def test_where_metrics_have_a_port_the_live_view_is_there() -> None:
    async with serving(settings=fake_settings(metrics_port=0)) as client:
        assert [(await client.get(path)).status_code for path in ("/live", "/v1/live", "/metrics")] == [404, 404, 404]
