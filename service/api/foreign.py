"""Bodies of other systems' score routes, recognised so that their sender is told instead of left to guess.

`/v1/score` is also a route of vLLM and SGLang, with other contracts.
"""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class System:
    """`keys` give its bodies away. `route` is where it is answered here, if it is."""

    name: str
    keys: frozenset[str]
    route: str | None = None


_SYSTEMS = (
    System("vLLM's pooling `/v1/score`", frozenset({"text_1", "text_2", "data_1", "data_2", "queries"})),
    System("a rerank route (`query` and `documents`)", frozenset({"documents", "texts"})),
    System("OpenRLHF's `/get_reward`", frozenset({"prompts", "labels"}), "/get_reward"),
    System(
        "the `/v1/score` of SGLang or vLLM's `/generative_scoring`",
        frozenset({"label_token_ids", "apply_softmax", "item_first", "query"}),
    ),
    System("eval-protocol's `/evaluate`", frozenset({"ground_truth", "kwargs"}), "/evaluate"),
    System("a chat completion", frozenset({"messages"})),
    System("slime's remote reward model", frozenset({"label"}), "/rm"),
    System("NeMo-Gym's `/verify`", frozenset({"responses_create_params"}), "/verify"),
    System("an OpenAI decisions route", frozenset({"questions"}), "/v1/decisions"),
)


def recognise(body: bytes) -> System | None:
    """Which other system's request this is, if its top-level keys say so."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    return next((system for system in _SYSTEMS if system.keys & data.keys()), None)
