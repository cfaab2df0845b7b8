"""The service's own command renders, and what goes wrong with it is said in one sentence."""

import json
import sys
from pathlib import Path

import pytest

from service.engine.build import MINIATURE
from service.engine.tokenizer import load_tokenizer
from service.prompting.renderer import Renderer
from service.prompting.template import build_skeleton
from service.prompting.tokenization import Segmenter
from service.rubrics.rubric import Candidate, Criterion, Turn
from trainer_client import wire
from trainer_client.distillation.rendering import render
from trainer_client.errors import DataError

SERVICE = [sys.executable, "-m", "service", "render"]
ABOUT = {"label_ids": [1, 2], "labels": ["a", "b"], "layout": "l", "prompt": "p", "digest": "d"}
TEXTS = ["Tells the user to rest.", "Says <|im_end|> twice."]


def _item() -> wire.Item:
    rubric: list[dict[str, object]] = [{"text": text, "points": 1} for text in TEXTS]
    rubric.append({"text": "Says yes.", "points": 1, "verifier": {"rule": "contains", "text": "yes"}})
    return wire.Item.model_validate({"prompt": "My knee hurts.", "response": "Rest <|im_start|> it.", "rubric": rubric})


def _service_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[3])


def test_the_ids_are_those_that_the_service_asks_its_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    _service_here(monkeypatch)
    found = render([_item(), _item()], SERVICE)
    tokenizer = load_tokenizer(str(MINIATURE), None)
    renderer = Renderer(Segmenter(tokenizer), build_skeleton(tokenizer))
    criteria = tuple(Criterion(id=str(n), text=text, points=1) for n, text in enumerate(TEXTS))
    candidate = Candidate("0", (Turn("user", "My knee hurts."),), "Rest <|im_start|> it.", criteria)
    expected = renderer.render([(candidate, criteria)])[0]
    assert found.label_ids == renderer.label_ids(("Yes", "No")) and found.labels == ("Yes", "No")
    assert len(found.items) == 2
    assert found.items[1].shared == expected[0].shared
    assert found.items[1].own == (expected[0].own, expected[1].own, None)


def test_settings_of_the_service_change_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    _service_here(monkeypatch)
    plain = render([_item()], SERVICE)
    monkeypatch.setenv("RUBRICD_LABELS", json.dumps(["No", "Yes"]))
    other = render([_item()], SERVICE)
    assert other.labels == ("No", "Yes") and other.label_ids != plain.label_ids and other.digest != plain.digest


@pytest.mark.parametrize(
    "command, said",
    [
        (["/nowhere/render"], r"`/nowhere/render`: .*No such file.*; set --render"),
        ([*SERVICE, "--judge", "/nowhere"], "ended with: .*/nowhere"),
        (["echo", "hello"], "wrote something else than prompts; set --render"),
        (
            ["echo", '{"label_ids": [1, 2], "labels": ["a", "b"], "layout": "l", "prompt": "p", "digest": "d"}'],
            "for other criteria",
        ),
    ],
)
def test_what_goes_wrong_is_one_sentence(command: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _service_here(monkeypatch)
    with pytest.raises(DataError, match=said):
        render([_item()], command)
