"""Defines what the service says about several judges: the members of a composition, and the judges of a deployment."""

from typing import Any

from pydantic import Field

from trainer_client.wire.models import Answer, is_none


class JudgeMember(Answer):
    """A judge inside a composition, in the mode, layout and prompt of the answer."""

    name: str = Field(description="Its name in the deployment.")
    kind: str = Field(description="The engine that runs it, or the kind of composition that it is.")
    model: str = Field(description="Its model, by folder or name.")
    fingerprint: str = Field(description="Its fingerprint in this mode, layout and prompt.")
    members: list["JudgeMember"] = Field(default_factory=list, description="Empty unless it is a composition.")


class MemberResult(Answer):
    """What one member of a composition said about a criterion."""

    judge: str = Field(description="The member's name.")
    status: str = Field(description="As a criterion's `status`.")
    met: bool | None = Field(description="null unless `status` is `ok`.")
    p: float | None = Field(description="P(met) of this member.")
    level: int | None = Field(default=None, exclude_if=is_none, description="The level or choice that it took.")
    extracted: str | None = Field(default=None, exclude_if=is_none, description="The value that it extracted.")


class DeployedJudge(Answer):
    """A judge that a request of this deployment may name as `judge`."""

    name: str = Field(description="What a request calls it.")
    kind: str = Field(description="The engine that runs it, or the kind of composition that it is.")
    model: str = Field(description="Its model, by folder or name.")
    fingerprint: str | None = Field(description="In its default mode, layout and prompt.")
    ready: bool = Field(description="Whether it can judge now.")
    reason: str | None = Field(default=None, description="Why it cannot judge now, or which of its members cannot.")
    required: bool = Field(description="The service is ready while all of these can judge.")
    members: list[str] = Field(default_factory=list, description="By name; empty unless it is a composition.")
    rule: dict[str, Any] | None = Field(default=None, description="How a composition asks its members.")
