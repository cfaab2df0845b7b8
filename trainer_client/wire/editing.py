"""Defines both sides of the routes for people who write a rubric: reading what they pasted, and fixing its form."""

from typing import Any

from pydantic import Field

from trainer_client.wire.models import Answer, Strict
from trainer_client.wire.rubric import Criterion, Pitfalls, Rubric
from trainer_client.wire.turns import Message, Response

MAX_PASTED_CHARACTERS = 1_000_000


class ReadRequest(Strict):
    """The body of `POST /v1/rubrics/read`."""

    text: str = Field(
        max_length=MAX_PASTED_CHARACTERS,
        description="A rubric as a person has it: JSON of any shape that the contract takes, a row of a data set, a "
        "request, or lines of points and text.",
    )
    pitfalls: Pitfalls | None = Field(default=None, description="As in a request.")


class ReadRubric(Answer):
    """What was read. Where nothing could be, `refused` says why in a sentence, and there are no criteria."""

    format: str | None = Field(description="Its name, such as `HealthBench`; null where nothing was read.")
    criteria: list[Criterion] = Field(description="The criteria, empty where nothing was read.")
    prompt: str | list[Message] | None = Field(default=None, description="The row's conversation, if it has one.")
    responses: list[Response] = Field(default_factory=list, description="The row's responses, if it has some.")
    reference: str | None = Field(default=None, description="The row's reference answer, if it has one.")
    notes: list[str] = Field(default_factory=list, description="What a person should know about the reading.")
    refused: str | None = Field(default=None, description="Why nothing could be read; null where something was.")


class FixRequest(Strict):
    """The body of `POST /v1/rubrics/fix`."""

    rubric: Rubric = Field(description="The rubric whose form is to be fixed.")


class Fix(Answer):
    """What becomes of one criterion."""

    index: int = Field(description="The criterion's, in the rubric that was sent.")
    codes: list[str] = Field(description="The lint's codes of what was fixed.")
    criterion: dict[str, Any] | None = Field(description="As it is now; null: removed, since an earlier one is equal.")


class FixResponse(Answer):
    """The answer of `POST /v1/rubrics/fix`."""

    fixes: list[Fix] = Field(description="One for each criterion of which something was fixed.")
