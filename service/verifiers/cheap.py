"""The cheap rules compare text: their time is linear in the response, and known before they run.

Guarantees: `cost_ns` is an upper bound of the time of a check on an ordinary core, so that a caller knows beforehand
which checks the event loop can bear.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from service.verifiers.choice import stated_choice

Params = Mapping[str, Any]

_CALL_NS = 2_000


def _folded(text: str, params: Params, *, default: bool) -> str:
    return text.casefold() if params.get("ignore_case", default) else text


def _contains(params: Params, response: str) -> bool:
    wanted, text = (_folded(text, params, default=True) for text in (params["text"], response))
    return wanted in text


def _exact(params: Params, response: str) -> bool:
    gold, text = (_folded(text.strip(), params, default=False) for text in (params["gold"], response))
    return gold == text


def _choice(params: Params, response: str) -> bool:
    gold: str = params["gold"]
    return stated_choice(response) == gold.upper()


def _length(params: Params, response: str) -> bool:
    length = len(response) if params.get("unit", "words") == "characters" else len(response.split())
    low, high = params.get("min"), params.get("max")
    return (low is None or length >= low) and (high is None or length <= high)


CHEAP: Mapping[str, Callable[[Params, str], bool]] = MappingProxyType(
    {"contains": _contains, "exact": _exact, "choice": _choice, "length": _length}
)

# Nanoseconds for a character of the worst text that was found, rounded up: letters outside of ASCII, which are folded
# and split slowly, and for `choice` text that looks like the beginning of a statement.
_NS_PER_CHARACTER: Mapping[str, int] = MappingProxyType({"contains": 5, "exact": 5, "length": 25, "choice": 60})


def names_a_choice(gold: str) -> bool:
    """Whether this gold answer of `math_verify` may name a choice."""
    return len(gold) == 1 and "A" <= gold <= "Z"


def cost_ns(name: str, params: Params, response: str) -> int:
    """At most so long a cheap rule takes, in nanoseconds."""
    wanted = params.get("text") or params.get("gold") or ""
    return _CALL_NS + _NS_PER_CHARACTER[name] * (len(response) + len(wanted))
