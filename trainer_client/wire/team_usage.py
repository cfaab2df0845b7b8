"""Defines the answer of `GET /v1/usage`: what a team may use, and what it has used."""

from pydantic import Field

from trainer_client.wire.models import Answer


class Quota(Answer):
    """The limits of a team; null is no limit."""

    tokens_per_minute: int | None = Field(description="Judge tokens of a minute.")
    concurrent_tokens: int | None = Field(description="Judge tokens that its requests may hold at a time.")
    requests_per_minute: int | None = Field(
        description="Requests of a minute, where each further MiB of a body counts as one."
    )
    rule_seconds_per_minute: int | None = Field(description="Seconds of rule checks of a minute.")


class CriterionDivergence(Answer):
    """A criterion of the team's, on which a judge and its shadow were compared."""

    shadow: str = Field(description="The second judge's name.")
    criterion: str = Field(description="The beginning of its text.")
    compared: int = Field(description="Responses on which the shadow was asked it, too.")
    differs: int = Field(description="Those on which the shadow decided otherwise.")
    unjudged: int = Field(description="Those on which the shadow decided nothing.")
    difference: float | None = Field(description="How far apart P(met) is on average; null where one gave none.")


class TeamUsage(Answer):
    """The answer of `GET /v1/usage`: a team's own quota, and what it used in this process since that started."""

    team: str = Field(description="The name of the key's team.")
    quota: Quota = Field(description="What it may use.")
    reserved_tokens: int = Field(description="Judge tokens of the team's quota that its requests hold now.")
    responses: int = Field(description="Responses that were scored for the team.")
    judgements: int = Field(description="Queries that the judge answered for the team.")
    cache_hits: int = Field(description="Queries that a cache answered.")
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
    shadows: list[CriterionDivergence] = Field(
        default=[], description="For each shadow the 20 criteria on which it differs most often, of the last 200."
    )
    cache_share: float | None = Field(description="Share of the queries that a cache answered; null before the first.")
