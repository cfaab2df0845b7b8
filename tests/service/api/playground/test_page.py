"""Tests of the page's headers and addresses. tests/e2e/test_playground.py opens it in a browser."""

import re

from testkit.apps import serving


async def test_the_page_loads_nothing_and_is_framed_by_nobody() -> None:
    async with serving() as client:
        page = await client.get("/")
    policy = page.headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["frame-ancestors"] == "'none'"
    assert rules["script-src"].count("'sha256-") == page.text.count("<script>") == 1
    assert rules["style-src"].count("'sha256-") == page.text.count("<style>") == 1
    assert "unsafe" not in policy
    assert page.headers["x-frame-options"] == "DENY" and page.headers["referrer-policy"] == "no-referrer"


async def test_the_page_has_nothing_that_its_policy_forbids() -> None:
    async with serving() as client:
        text = (await client.get("/")).text
    assert not re.findall(r"\sstyle=|\son[a-z]+=|<script [^>]|<style [^>]", text)


async def test_the_pages_addresses_are_relative() -> None:
    async with serving() as client:
        text = (await client.get("/")).text
    assert re.findall(r'request\("([^"]+)"', text) == ["v1/judge", "v1/score"]
    assert not re.findall(r"""(?:href|src|fetch\()=?["'](?!data:)""", text)
