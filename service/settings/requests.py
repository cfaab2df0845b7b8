"""The settings of what callers may send, and of the teams that they belong to."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from service.settings.floor import Floor


class TeamsFileSettings(Floor):
    """The teams file."""

    teams: Path | None = Field(
        default=None,
        description="The teams file (YAML or JSON). It is read again when it changes. Without it no key is needed.",
    )


class TenancySettings(TeamsFileSettings):
    """The teams, and the answers and rubrics that are kept for them."""

    idempotency_s: int = Field(
        default=3600,
        gt=0,
        description="An answer is replayed to the same `Idempotency-Key` for this many seconds.",
    )
    rubrics: Path | None = Field(
        default=None,
        description="Rubrics that teams store are files in this folder. They are in Redis if not set, and without "
        "Redis in each process's memory, until it ends.",
    )
    rubrics_per_team: int = Field(default=1_000, gt=0, description="A team may store this many versions of rubrics.")
    rubric_bytes_per_team: int = Field(
        default=64 * 1024 * 1024, gt=0, description="A team's stored rubrics have at most this many bytes together."
    )


class ApiSettings(Floor):
    """The limits of one request, and the routes of other trainers."""

    max_items: int = Field(default=512, gt=0, description="One request has at most this many responses to score.")
    max_criteria: int = Field(default=256, gt=0, description="One rubric has at most this many criteria.")
    max_judgements: int = Field(
        default=32_768,
        gt=0,
        description="One request has at most this many judgements: criteria of its responses, times `votes`.",
    )
    max_body_bytes: int = Field(
        default=16 * 1024 * 1024, gt=0, description="One request body has at most this many bytes."
    )
    protocol_deadline_s: float = Field(
        default=100.0,
        gt=0,
        le=86_400,
        description="Other trainers' routes (protocols.md) answer after at most this many seconds, with the verdicts "
        "that there are by then.",
    )
    protocol_neutral: float | None = Field(
        default=None,
        ge=-1e6,
        le=1e6,
        allow_inf_nan=False,
        description="`/get_reward` and `/rm` answer this number, marked and counted, in place of a reward that was not "
        "judged. They answer an error if not set.",
    )
    protocol_reasoning: Literal["keep", "remove"] = Field(
        default="keep",
        description="Whether other trainers' routes take the reasoning off a response, where its label and URL do not "
        "say.",
    )
    protocol_end_tokens: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        default=None,
        description="`/get_reward` and `/rm` take these texts off the end of a response. Those of common chat models "
        "(protocols.md) if not set, none with `[]`.",
    )
