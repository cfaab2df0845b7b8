"""The page holds its data so that no text of it is markup, and allows no script but its own."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from testkit.made_results import write_results
from tests.trainer_client.viewer.made import hostile, page_of, rollout
from trainer_client.rollouts import read
from trainer_client.viewer.columns import Source, pack
from trainer_client.viewer.page import page

MOST_BYTES = 150_000


def _between(text: str, start: str, end: str) -> str:
    return text[text.index(start) + len(start) :].split(end)[0]


def test_no_text_ends_the_data(tmp_path: Path) -> None:
    page_of(tmp_path / "page.html", hostile())
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    data = _between(text, '<script type="application/json" id="data">', "</script>")
    assert "<" not in data and not re.search("[\u2028\u2029\x00]", data)
    assert json.loads(data) == json.loads(json.dumps(pack([Source("a.jsonl", hostile())])))
    assert text.count("<script") == text.count("</script>") == 2


def test_the_policy_names_the_pages_own_script_and_style() -> None:
    text = page([Source("a", [rollout(0)])])
    policy = _between(text, 'Content-Security-Policy" content="', '"')
    for kind, content in (
        ("script", _between(text, "<script>", "</script>")),
        ("style", _between(text, "<style>", "</style>")),
    ):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|<link|<img|@import|url\(", text)


def test_a_name_of_a_file_is_text() -> None:
    text = page([Source("<b>.jsonl", [rollout(0, judge="<i>")])])
    assert '<h1 dir="auto">&lt;b&gt;.jsonl</h1>' in text and "judged by &lt;i&gt;" in text


@pytest.mark.parametrize("files", [1, 2])
def test_the_page_is_small_without_its_data(files: int) -> None:
    assert len(page([Source(str(n), [rollout(0)]) for n in range(files)]).encode()) <= MOST_BYTES


def test_data_takes_less_than_a_fifth_of_the_results(tmp_path: Path) -> None:
    results = write_results(tmp_path / "made.jsonl", 1000)
    assert len(page([Source("made", read(results))])) < results.stat().st_size / 5
