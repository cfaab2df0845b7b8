"""Reads rollouts from lines of JSON: a results file of `rubricd score`, or a line for each rollout of any trainer.

    {"step": 3, "group": "a", "prompt": …, "response": …, "rubric": […], "criteria": [verdicts], "score": 0.5, …}

Only `prompt` and `response` are needed; `input`, `output`, `question` and `completion` mean the same. A verdict is an
object as the service answers it: `id`, `met`, and what else is known.

Guarantees: a last line that is cut off is left out and said; any other damage is an error that names the line. A
response that failed has no score and no verdicts.
"""

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from trainer_client import wire
from trainer_client.errors import DataError
from trainer_client.rollouts import verdicts
from trainer_client.rollouts.logged import LoggedVerdict, Rollout, Turns, prompt_id

Say = Callable[[str], None]
_PROMPT, _RESPONSE = ("prompt", "input", "question"), ("response", "output", "completion")


def files(folder: Path) -> list[Path]:
    """The files of lines in a folder that are named by a number, such as verl writes one for each step into its
    `trainer.rollout_data_dir`, in the order of these."""
    return sorted((path for path in folder.glob("*.jsonl") if path.stem.isdigit()), key=lambda path: int(path.stem))


def rollouts(path: Path, say: Say, after: int = 0) -> Iterator[Rollout]:
    """The rollouts of the lines after the first so many."""
    try:
        with _opened(path) as file:
            for number, text in enumerate(file, 1):
                if number > after and text.strip():
                    yield from _of_line(path, number, text, say)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _of_line(path: Path, number: int, text: bytes, say: Say) -> Iterator[Rollout]:
    place = f"{path}, line {number}"
    try:
        line = wire.read_json(text)
    except wire.JsonFault as fault:
        if text.endswith(b"\n"):
            raise DataError(f"{place}: not JSON ({fault}); a line must hold one whole JSON object") from None
        say(f"{place} is not whole yet and is left out")
        return
    if not isinstance(line, dict):
        raise DataError(f"{place}: a line must hold one whole JSON object")
    yield _rollout(line, place)


def _rollout(line: Mapping[str, Any], place: str) -> Rollout:
    item = line["item"] if isinstance(line.get("item"), dict) else line
    about = line["metadata"] if isinstance(line.get("metadata"), dict) else {}
    prompt = _turns(_one_of(item, _PROMPT, place), _PROMPT[0], place)
    step = _whole({"step": line.get("step", about.get("step"))}, "step", place)
    judge = line.get("judge") if isinstance(line.get("judge"), str) else None
    rubric = verdicts.rubric(item.get("rubric"), place)
    group = str(item.get("group") or about.get("group") or prompt_id(prompt))
    return Rollout(
        place=place,
        step=step,
        group=group if step is None else f"{step}/{group}",
        id=str(line.get("id", group)),
        prompt=prompt,
        response=_turns(_one_of(item, _RESPONSE, place), _RESPONSE[0], place),
        rubric=rubric,
        reference=item.get("reference"),
        criteria=_rated(line, verdicts.joined(_list(line, "criteria", place), rubric, judge, place), place),
        status=_status(line),
        score=_number(line, "score", place),
        reward=_number(line, "reward", place),
        advantage=_number(line, "advantage", place),
        shown=tuple(_list(line, "shown", place)) if line.get("shown") is not None else None,
        judge=judge,
        attempts=_whole(line, "attempts", place),
        coverage=_number(line, "coverage", place),
        bounds=_bounds(line, place),
        detail=_detail(line),
        documents=tuple(_list(item, "documents", place)),
    )


def _one_of(item: Mapping[str, Any], names: tuple[str, ...], place: str) -> Any:
    for name in names:
        if item.get(name) is not None:
            return item[name]
    raise DataError(f"{place}: no `{names[0]}`; a rollout has `prompt` and `response`")


def _turns(value: Any, name: str, place: str) -> str | Turns:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(turn, dict) and "role" in turn for turn in value):
        return tuple(value)
    raise DataError(f"{place}: `{name}` is neither a text nor a list of turns")


def _whole(line: Mapping[str, Any], name: str, place: str) -> int | None:
    value = line.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise DataError(f"{place}: `{name}` is no whole number")
    return value


def _list(line: Mapping[str, Any], name: str, place: str) -> list[Any]:
    value = line.get(name)
    if value is not None and not isinstance(value, list):
        raise DataError(f"{place}: `{name}` is no list")
    return value or []


def _number(line: Mapping[str, Any], name: str, place: str) -> float | None:
    value = line.get(name)
    if value is not None and not verdicts.is_number(value):
        raise DataError(f"{place}: `{name}` is neither a number nor null")
    return None if value is None else float(value)


def _rated(line: Mapping[str, Any], criteria: tuple[LoggedVerdict, ...], place: str) -> tuple[LoggedVerdict, ...]:
    """In a rating mode the one entry is the rating of the whole; its share of the points is the rating from 0 to 1."""
    rating = line.get("rating")
    if not isinstance(rating, Mapping) or [one.id for one in criteria] != ["rating"]:
        return criteria
    said = f"Rated {rating.get('expected')} of 10, most likely {rating.get('most_likely')}."
    share = _number(rating, "normalised", place)
    return (replace(criteria[0], text="The whole response, rated from 1 to 10.", value=share, explanation=said),)


def _bounds(line: Mapping[str, Any], place: str) -> tuple[float, float] | None:
    ends = _list(line, "score_bounds", place)
    if not ends:
        return None
    if len(ends) != 2 or not all(map(verdicts.is_number, ends)):
        raise DataError(f"{place}: `score_bounds` are not two numbers")
    return float(ends[0]), float(ends[1])


def _detail(line: Mapping[str, Any]) -> str | None:
    """What the error of a response that failed says."""
    error = line.get("error")
    return str(error["message"]) if isinstance(error, dict) and error.get("message") else None


def _status(line: Mapping[str, Any]) -> str:
    if isinstance(line.get("error"), dict):
        return str(line["error"].get("code", "failed"))
    if line.get("score") is not None:
        return "ok"
    said = [str(one.get("status") or "ok") for one in line.get("criteria") or [] if isinstance(one, dict)]
    return " and ".join(sorted({*said} - {"ok"})) or str(line.get("status") or "unknown")
