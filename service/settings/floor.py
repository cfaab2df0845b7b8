"""A floor's settings are a frozen model that knows no other field, and takes `true` for no number."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

_NUMBERS = {int, float}


def fits_a_header(key: str | None) -> str | None:
    """The key. Raises ValueError where no HTTP header can carry it."""
    if key is not None and not (key and all("!" <= character <= "~" for character in key)):
        raise ValueError(
            "it is empty or holds white space, a line break or a character outside ASCII, which no HTTP header can "
            "carry; take it out (the last line break of a file comes along easily)"
        )
    return key


class Floor(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_switch(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic takes `true` for a 1, which a file may say where how much was asked."""
        if isinstance(value, bool):
            wanted = cls.model_fields[info.field_name or ""].annotation
            kinds = {wanted, *get_args(wanted)}
            if kinds & _NUMBERS and bool not in kinds:
                raise ValueError("a number belongs here, and not true or false")
        return value
