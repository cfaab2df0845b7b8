"""Says in one sentence what is wrong with a field of a run config, and what to write instead.

Guarantees: an unknown field is told with the nearest known one, also where that stands in another section.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from trainer_client import wire


class Mistakes:
    """The words for pydantic's errors about `whole`. `sections` are its parts by name, and `elsewhere` gives the
    section of fields that people write at the top."""

    def __init__(
        self, whole: type[BaseModel], sections: Mapping[str, type[BaseModel]], elsewhere: Mapping[str, str]
    ) -> None:
        self._whole, self._sections, self._elsewhere = whole, sections, elsewhere

    def sentence(self, error: Any) -> str:
        """One of pydantic's errors, with what to write instead."""
        place = ".".join(str(part) for part in wire.without_kind(error["loc"]))
        if error["type"] == "missing":
            return f"`{place}`: missing"
        if error["type"] == "model_type":
            return (
                f"`{place}`: must hold fields, as `{place}: {{…}}`; known here: {', '.join(self._fields(error['loc']))}"
            )
        if error["type"] != "extra_forbidden":
            message = error["msg"].removeprefix("Value error, ")
            return f"`{place}`: {message}" if place else message
        known = self._fields(error["loc"][:-1])
        close = get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean `{close[0]}`? " if close else ""
        if not close and len(error["loc"]) == 1:
            hint = self._place_of(place)
        return f"`{place}`: unknown field; {hint}known here: {', '.join(known)}"

    def _place_of(self, name: str) -> str:
        """Where a field that does not stand at the top may belong."""
        if close := get_close_matches(name, self._elsewhere, n=1):
            return f"did you mean `{self._elsewhere[close[0]]}.{close[0]}`? "
        return "settings of TRL's GRPOConfig stand under `trl`; "

    def _fields(self, loc: Iterable[str | int]) -> list[str]:
        fields = self._whole.model_fields
        for name in loc:
            if isinstance(name, str):  # and not the place in a list
                fields = self._sections[name].model_fields
        return list(fields)
