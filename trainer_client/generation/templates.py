"""Reads the prompts that a generator gets from versioned data files, and fills them in.

Guarantees: a value is put in once and never read as a place for another. What comes from a row stands between two lines
that end in a mark made of its own hash, so that no text of a row can hold its own end.
"""

import re
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

from trainer_client.endpoint import Message
from trainer_client.errors import DataError
from trainer_client.scaffold import Message as Turn

Shape = Literal["categories", "points", "rules", "quoted", "text"]
"""What the generator writes: RaR's items with categories, RuscaRL's criteria with points, OpenRubrics' rules, criteria
with a quote of the guideline, or plain text."""
UseOfReference = Literal["use", "ignore", "write"]
"""Whether a row's reference is shown, and whether a row without one gets an answer that the generator writes first."""

_FOLDER = Path(__file__).with_name("templates")
_MARK_DIGITS = 8
_FIELDS = {"name", "version", "source", "shape", "items", "reference", "pair", "guideline", "weights", "texts"}
_PLACES = {"conversation", "reference", "pair", "guideline", "low", "high", "answer", "preferred", "rejected"}


@dataclass(frozen=True, slots=True)
class Template:
    """`items` are the fewest and the most criteria, `weights` the lowest and the highest weight of a category. `digest`
    is the SHA-256 of the file."""

    name: str
    version: int
    source: str
    digest: str
    shape: Shape
    texts: Mapping[str, str]
    items: tuple[int, int] = (1, 50)
    weights: Mapping[str, tuple[int, int]] | None = None
    reference: UseOfReference = "ignore"
    pair: bool = False
    guideline: bool = False

    @property
    def version_name(self) -> str:
        return f"{self.name}@{self.version}"

    def messages(
        self,
        conversation: Sequence[Turn],
        *,
        answer: str | None = None,
        pair: tuple[str, str] | None = None,
        guideline: str | None = None,
    ) -> list[Message]:
        """The turns that ask for a rubric, or for an answer, to this conversation."""
        values = {
            "conversation": set_apart("conversation", conversation_text(conversation)),
            "low": str(self.items[0]),
            "high": str(self.items[1]),
            "guideline": "" if guideline is None else set_apart("guideline", guideline),
            "reference": "",
            "pair": "",
        }
        if answer is not None:
            values["reference"] = _filled(self.texts.get("with_reference", ""), {"answer": set_apart("answer", answer)})
        elif "without_reference" in self.texts:
            values["reference"] = self.texts["without_reference"]
        if pair is not None:
            preferred, rejected = set_apart("preferred answer", pair[0]), set_apart("other answer", pair[1])
            values["pair"] = _filled(self.texts["with_pair"], {"preferred": preferred, "rejected": rejected})
        turns: list[Message] = []
        if self.texts.get("system"):
            turns.append({"role": "system", "content": self.texts["system"].strip()})
        return [*turns, {"role": "user", "content": _filled(self.texts["user"], values).strip()}]


def names() -> tuple[str, ...]:
    """The templates for rubrics that come with the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml") if path.stem not in ("answer", "revision")))


def load(name: str) -> Template:
    """The template of this name, or in this file (`.toml`). Raises DataError."""
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if path.parent == _FOLDER and not path.exists():
        raise DataError(f"no template {name!r}; the templates are {', '.join(names())}, or name a .toml file of yours")
    try:
        raw = path.read_bytes()
        return _template(tomllib.loads(raw.decode()), sha256(raw).hexdigest())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a template: {error}") from None


def revision(kind: Literal["faults", "findings"], lines: Sequence[str]) -> Message:
    """The turn that asks for the same rubric again."""
    text = tomllib.loads((_FOLDER / "revision.toml").read_text(encoding="utf-8"))["texts"][kind]
    return {"role": "user", "content": _filled(text, {"list": "\n".join(f"- {line}" for line in lines)}).strip()}


def set_apart(name: str, text: str) -> str:
    """A text of a row between two lines with a mark of its own."""
    mark = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_MARK_DIGITS]
    return f"--- {name} {mark}\n{text}\n--- end of {name} {mark}"


def conversation_text(turns: Sequence[Turn]) -> str:
    """The turns, each under its role. What a tool was asked or answered is there as text."""
    return "\n\n".join(f"[{turn['role']}]\n{_said(turn)}" for turn in turns)


def _said(turn: Turn) -> str:
    calls = [call["function"] for call in turn.get("tool_calls") or ()]
    told = [f"calls {call['name']}({call['arguments']})" for call in calls]
    return "\n".join(filter(None, (turn["content"], *told)))


def _filled(text: str, values: Mapping[str, str]) -> str:
    return string.Template(text).substitute(values)


def _template(data: Mapping[str, Any], digest: str) -> Template:
    """Raises ValueError for what is missing or not known."""
    if unknown := sorted(data.keys() - _FIELDS):
        raise ValueError(f"`{unknown[0]}` is no field of a template; its fields are {', '.join(sorted(_FIELDS))}")
    for field, kind in (("name", str), ("version", int), ("shape", str), ("texts", dict)):
        if not isinstance(data.get(field), kind):
            raise ValueError(f"`{field}` is missing, or of the wrong kind")
    if data["shape"] not in get_args(Shape):
        raise ValueError(f"`shape` is one of {', '.join(get_args(Shape))}")
    if data.get("reference", "ignore") not in get_args(UseOfReference):
        raise ValueError(f"`reference` is one of {', '.join(get_args(UseOfReference))}")
    texts = {name: str(text) for name, text in data["texts"].items()}
    _check_places(texts, pair=bool(data.get("pair")))
    weights = data.get("weights")
    return Template(
        name=data["name"],
        version=data["version"],
        source=str(data.get("source", "")),
        digest=digest,
        shape=data["shape"],
        texts=texts,
        items=_range(data.get("items", [1, 50])),
        weights=None if weights is None else {name: _range(value) for name, value in weights.items()},
        reference=data.get("reference", "ignore"),
        pair=bool(data.get("pair")),
        guideline=bool(data.get("guideline")),
    )


def _check_places(texts: Mapping[str, str], *, pair: bool) -> None:
    if "$conversation" not in texts.get("user", ""):
        raise ValueError("`texts.user` has no place $conversation")
    if pair and "with_pair" not in texts:
        raise ValueError("`texts.with_pair` is missing: a template with `pair = true` shows two answers")
    for name, text in texts.items():
        # Not by string.Template's own word: what it does not know raises when the first row is asked about.
        for place in re.findall(r"(?<!\$)\$(\w*)", text.replace("$$", "")):
            if place not in _PLACES:
                raise ValueError(f"`texts.{name}` has ${place}, which is no place; write $$ for a dollar")


def _range(value: Any) -> tuple[int, int]:
    low, high = value if isinstance(value, list) and len(value) == 2 else (None, None)
    if not isinstance(low, int) or not isinstance(high, int) or low > high:
        raise ValueError(f"{value!r} is not the lowest and the highest number")
    return low, high
