"""Sources, drafts as a generator writes them, and a chat model that says what a list has."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainer_client.endpoint import ChatAnswer, Message, Usage
from trainer_client.generation import templates
from trainer_client.generation.rows import Source
from trainer_client.generation.shapes import form_of
from trainer_client.generation.writing import Orders

SUBJECTS = ("rest", "ice", "fever", "swelling", "weight", "physiotherapy", "surgery", "bandages")


def source(**changes: Any) -> Source:
    fields: dict[str, Any] = {
        "id": "knee",
        "place": "rows.jsonl, line 1",
        "messages": ({"role": "user", "content": "My knee hurts."},),
        "reference": None,
        "pair": None,
        "source": "",
    }
    return Source(**{**fields, **changes})


def points(*changes: Mapping[str, Any]) -> str:
    """A draft of RuscaRL's form; `changes` are of its first criteria."""
    criteria: list[dict[str, Any]] = [
        {"criterion": f"Mentions {subject} for the knee.", "points": 3} for subject in SUBJECTS
    ]
    for one, change in zip(criteria, changes, strict=False):
        one.update(change)
    return json.dumps({"rubrics": criteria})


def categories(*changes: Mapping[str, Any]) -> str:
    """A draft of RaR's form."""
    items: list[dict[str, Any]] = [
        {
            "title": f"About {subject}",
            "category": "essential",
            "description": f"Mentions {subject} for the knee.",
            "weight": 5,
        }
        for subject in SUBJECTS
    ]
    items[-1] |= {"category": "pitfall", "description": "Recommends bandages at night.", "weight": -2}
    for one, change in zip(items, changes, strict=False):
        one.update(change)
    return json.dumps({"rubric": items})


def orders(template: str = "ruscarl", **changes: Any) -> Orders:
    loaded = templates.load(template)
    fields: dict[str, Any] = {
        "template": loaded,
        "answer_template": templates.load("answer"),
        "reference": "ignore",
        "form": form_of(loaded),
        "lint": lambda rubric, reference: (),
    }
    return Orders(**{**fields, **changes})


class Script:
    """A chat model. `texts` are what it says, in order; the last one again and again."""

    def __init__(self, *texts: str, finish: str = "stop") -> None:
        self.texts = list(texts)
        self.finish = finish
        self.asked: list[tuple[Sequence[Message], int | None, Mapping[str, Any] | None]] = []

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
        json_schema: Mapping[str, Any] | None = None,
    ) -> ChatAnswer:
        self.asked.append((messages, seed, json_schema))
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        return ChatAnswer((text,), (self.finish,), Usage(1, 1), "writer-7b")
