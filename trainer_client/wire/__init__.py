"""Defines the contract between a training job and the service: the one definition of `POST /v1/score` in code.

It needs pydantic only. `json_text` reads JSON strictly; `models` holds what the parts share; `verifiers`, `rubric` and
`request` hold what a caller sends, `response` what the service answers. Use the names from here:
`from trainer_client import wire`.
"""

from trainer_client.wire.json_text import JsonFault, check_keys, read_json, structure, values_at_most
from trainer_client.wire.models import Aggregation, Answer, Layout, Mode, Strict, Unjudged, says_something
from trainer_client.wire.request import Item, LintRequest, Message, Priority, RatingNorm, Role, ScoreRequest
from trainer_client.wire.response import (
    CriterionResult,
    CriterionStatus,
    Finding,
    Group,
    Judge,
    JudgeInfo,
    Limits,
    LintResponse,
    Place,
    Problem,
    Rating,
    Result,
    ResultStatus,
    ScoreResponse,
    Source,
    StreamedResult,
    StreamEnd,
    Usage,
)
from trainer_client.wire.rubric import CATEGORIES, Category, Criterion, Polarity, Rubric
from trainer_client.wire.verifiers import Choice, Contains, Exact, JsonSchema, Length, MathVerify, Regex, Verifier

__all__ = [
    "CATEGORIES",
    "Aggregation",
    "Answer",
    "Category",
    "Choice",
    "Contains",
    "Criterion",
    "CriterionResult",
    "CriterionStatus",
    "Exact",
    "Finding",
    "Group",
    "Item",
    "JsonFault",
    "JsonSchema",
    "Judge",
    "JudgeInfo",
    "Layout",
    "Length",
    "Limits",
    "LintRequest",
    "LintResponse",
    "MathVerify",
    "Message",
    "Mode",
    "Place",
    "Polarity",
    "Priority",
    "Problem",
    "Rating",
    "RatingNorm",
    "Regex",
    "Result",
    "ResultStatus",
    "Role",
    "Rubric",
    "ScoreRequest",
    "ScoreResponse",
    "Source",
    "StreamEnd",
    "StreamedResult",
    "Strict",
    "Unjudged",
    "Usage",
    "Verifier",
    "check_keys",
    "read_json",
    "says_something",
    "structure",
    "values_at_most",
]
