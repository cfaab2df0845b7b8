"""Finds the responses of a row: a text, a list of texts, or turns of an assistant, in one column.

Guarantees: a row with responses in two columns is refused. One turn of an assistant with a text is that text.
"""

from typing import Any

from trainer_client.data.formats.task import conversation
from trainer_client.data.records import Raw, RowError, decoded_if_json, shown

COLUMNS = ("response", "responses", "completion", "completions")
_LISTS = ("responses", "completions")
"""Columns of which a text is the list as JSON text. In the others a text is the response, whatever it looks like."""
_WANTED = "a text, a list of texts, or a list of {role, content} turns"


def found(row: Raw, column: str | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The field `response` or `responses` of the item, and the columns that it was read from."""
    names = COLUMNS if column is None else (column,)
    holding = [name for name in names if row.get(name) is not None]
    if not holding:
        missing = " or ".join(f"`{name}`" for name in names[:2])
        raise RowError(
            f"no {missing}; add the responses to judge, {_WANTED}, or name their column with --response-column"
        )
    if len(holding) > 1:
        raise RowError(
            f"both `{holding[0]}` and `{holding[1]}`; keep one, or name the one to judge with --response-column"
        )
    return fields(row[holding[0]], holding[0]), tuple(names)


def fields(value: Any, column: str) -> dict[str, Any]:
    """The value as the field `response` or `responses`."""
    if column in _LISTS:
        value = decoded_if_json(value)
    one = _one(value)
    if one is not None:
        return {"response": one}
    if isinstance(value, list) and value:
        several = [_one(inner) for inner in value]
        if None not in several:
            return {"responses": several}
        if any(one is not None for one in several):
            wrong = several.index(None)
            raise RowError(f"`{column}[{wrong}]` is {shown(value[wrong])}; write a text, or a list of turns")
    raise RowError(f"`{column}` is {shown(value)}; write {_WANTED}")


def _one(value: Any) -> Any:
    """A response as a text or as turns; None where it is neither."""
    if isinstance(value, str):
        return value
    turns = conversation(value)
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) and "role" in turn for turn in turns):
        return None
    if len(turns) == 1 and turns[0]["role"] == "assistant" and isinstance(turns[0].get("content"), str):
        return turns[0]["content"] if turns[0].keys() <= {"role", "content"} else turns
    return turns
