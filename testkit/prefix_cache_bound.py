"""Computes how much of the prompts a prefix cache can save, to compare a measured hit ratio with.

A cache like vLLM's keeps whole blocks of tokens, each known by everything before it, and computes a prompt's last token
in any case. `cached` counts for any prompts in the order in which they come; `group_cached` is the closed form for a
GRPO group, from lengths alone. Pure.
"""

from collections.abc import Iterable, Sequence


def cached(prompts: Iterable[Sequence[int]], block: int) -> int:
    """Tokens of these prompts, in this order, that a cold cache without limits finds."""
    seen: set[int] = set()
    found = 0
    for prompt in prompts:
        digest, hit = 0, True
        for start in range(0, len(prompt) - block + 1, block):
            digest = hash((digest, *prompt[start : start + block]))
            hit = hit and digest in seen and start + block < len(prompt)
            found += block if hit else 0
            seen.add(digest)
    return found


def group_cached(conversation: int, responses: Sequence[int], criteria: int, block: int) -> int:
    """The same for one group: a prefix of `conversation` tokens that every prompt has, then a response's tokens, then
    one of its criteria, none shorter than a token. A response's first criterion finds the conversation, unless nobody
    came before; each other one finds its response as well."""
    shared = [_whole(conversation + response, block) for response in responses]
    firsts = _whole(conversation, block) * (len(responses) - 1)
    return firsts + (criteria - 1) * sum(shared)


def _whole(tokens: int, block: int) -> int:
    return tokens // block * block
