"""`python -m service render` writes prompts of items, and nothing for a line that is none."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from service.errors import ConfigurationError
from service.render import render
from service.settings import Settings
from testkit.apps import item


def _rendered(*lines: str, **settings: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    assert render(Settings(**settings), io.StringIO("".join(f"{line}\n" for line in lines)), out) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_the_first_line_says_what_the_ids_were_rendered_with() -> None:
    (about,) = _rendered()
    assert about["labels"] == ["Yes", "No"] and len(about["label_ids"]) == 2
    assert (about["mode"], about["layout"]) == ("verdict", "rubricd")
    (other,) = _rendered(labels=("No", "Yes"))
    assert other["digest"] != about["digest"] and other["prompt"] == about["prompt"] == "question"


def test_a_response_is_a_line_and_reasoning_is_taken_off_as_when_it_is_scored() -> None:
    whole = item(response="<think>So be it.</think>Rest it.", reasoning="remove")
    group = {key: value for key, value in item().items() if key != "response"} | {"responses": ["Rest it.", "Run."]}
    _, plain, removed, first, second = _rendered(json.dumps(item()), json.dumps(whole), json.dumps(group))
    assert plain == removed == first != second
    assert second["own"] == plain["own"] and second["shared"] != plain["shared"]


@pytest.mark.parametrize("line", ["nothing", "{}", json.dumps({"prompt": "a", "response": "b"})])
def test_a_line_that_is_no_item_ends_the_command_with_its_number(line: str) -> None:
    with pytest.raises(ConfigurationError, match="line 2 of the items: "):
        _rendered(json.dumps(item()), line)


def test_a_prompt_that_asks_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="prompt `opposite` asks each criterion twice"):
        _rendered(prompt="opposite")


def test_a_judge_that_reads_texts_has_no_token_ids() -> None:
    with pytest.raises(ConfigurationError, match="no prompts as token ids"):
        _rendered(engine="decisions")


def test_with_a_file_of_judges_each_has_its_own_prompts(tmp_path: Path) -> None:
    """A judge's lines follow its name; one without token ids says why."""
    file = tmp_path / "judges.yaml"
    file.write_text(
        "judges:\n  both: {panel: [plain, shown]}\n  plain: {engine: local}\n  shown: {prompt: examples}\n"
        "  api: {engine: chat, chat_url: 'http://a', chat_model: m}\n  far: {engine: rubricd, url: 'http://b'}\n"
    )
    alone, of_alone = _rendered(json.dumps(item()))
    both, plain, of_plain, shown, of_shown, api, far = _rendered(json.dumps(item()), judges=file)
    assert both == {"name": "both", "not_rendered": "its members render theirs: plain, shown"}
    assert plain == {"name": "plain", **alone} and of_plain == of_alone
    assert (shown["name"], shown["prompt"]) == ("shown", "examples") and of_shown != of_plain
    assert api["not_rendered"] == "engine `chat` sends texts" and "another service" in far["not_rendered"]
    file.write_text("judges:\n  a: {prompt: nosuch}\n")
    with pytest.raises(ConfigurationError, match=r"judge `a`: .*nosuch"):
        _rendered(json.dumps(item()), judges=file)
