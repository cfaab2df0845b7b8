"""Every example of docs/guide/protocols.md works, and its answer has the shape that the page shows."""

import json
import re
import shlex
from typing import Any

import httpx
import pytest

from service.api.protocols.common import COMMON_END_TOKENS, OPTIONS
from testkit.apps import serving
from testkit.processes import ROOT
from tests.service.api.protocols.bodies import JUDGING

PAGE = (ROOT / "docs" / "guide" / "protocols.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```bash\n(curl .*?)```\n\n```json\n(.*?)```", PAGE, re.S)


def test_there_is_an_example_for_every_route() -> None:
    assert [_path(call) for call, _ in EXAMPLES] == [*JUDGING, "/v1/systemone"]


def _path(call: str) -> str:
    [url] = [word for word in shlex.split(call) if word.startswith("http://")]
    return httpx.URL(url).path


@pytest.mark.parametrize(("call", "shown"), EXAMPLES, ids=[_path(call) for call, _ in EXAMPLES])
async def test_an_example_is_answered_as_it_is_shown(call: str, shown: str) -> None:
    words = shlex.split(call)
    [url] = [word for word in words if word.startswith("http://")]
    async with serving() as client:
        answer = await client.post(httpx.URL(url).raw_path.decode(), content=words[words.index("--json") + 1])
    assert answer.status_code == 200, answer.text
    _alike(json.loads(shown), answer.json())


def _alike(shown: Any, given: Any) -> None:
    """The same names and kinds of values; what is shown empty may hold anything."""
    assert type(shown) is type(given)
    if isinstance(shown, dict) and shown:
        assert shown.keys() == given.keys()
        for name in shown:
            _alike(shown[name], given[name])
    if isinstance(shown, list) and shown:
        for one, other in zip(shown, given, strict=True):
            _alike(one, other)


def test_the_page_names_every_option_and_end_token() -> None:
    listed = re.search(r"\*\*Options\*\* \((.*?)\)", PAGE, re.S)
    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed[1])) == OPTIONS
    for token in COMMON_END_TOKENS:
        assert f"`{token}`" in PAGE
