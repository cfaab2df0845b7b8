"""A body, once and strictly, as a wire model."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from service.api import foreign, problems
from service.errors import InvalidRequest

M = TypeVar("M", bound=BaseModel)


def parse(body: bytes, model: type[M]) -> M:
    """Raises InvalidRequest with places and what to change; a body of another system's route is told so."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        system = foreign.recognise(body)
        if system is None:
            raise problems.invalid(error) from None
        there = "" if system.route is None else f"; here that is `POST {system.route}`"
        raise InvalidRequest(
            f"this body is shaped for {system.name}{there}; "
            "this route takes `items` with `prompt`, `response` and `rubric`"
        ) from None


def unserved(*place: str | int) -> InvalidRequest:
    """The last part is the message, the parts before it the place."""
    *loc, message = place
    return InvalidRequest(str(message), ((tuple(loc), str(message)),))
