"""Defines the answer of `GET /v1/usage`: what a team may use, and what it has used."""

from pydantic import Field

from trainer_client.wire.models import Answer


class Quota(Answer):
    """The limits of a team; null is no limit."""

    tokens_per_minute: int | None
    concurrent_tokens: int | None
    requests_per_minute: int | None
    rule_seconds_per_minute: int | None


class TeamUsage(Answer):
    """The answer of `GET /v1/usage`: a team's own quota, and what it used in this process since that started."""

    team: str
    quota: Quota
    reserved_tokens: int = Field(description="Judge tokens of the team's quota that its requests hold now.")
    responses: int
    judgements: int = Field(description="Queries that the judge answered for the team.")
    cache_hits: int
    deduplicated: int = Field(description="Queries that waited for an equal one.")
    tokens: int = Field(description="Tokens that the judge computed and wrote.")
    cost: float | None = Field(
        default=None,
        description="In US dollars, as judges' servers reported it; null where one reported none for a judgement.",
    )
    cost_reported: float | None = Field(
        default=None,
        description="In US dollars, of the judgements for which a server reported a price: all of the cost where "
        "`cost` is not null, and the least that it can be elsewhere.",
    )
    cache_share: float | None = Field(description="Share of the queries that a cache answered; null before the first.")
