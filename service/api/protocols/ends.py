"""End-of-text tokens that a trainer decoded with the answer, taken off by a declared list."""

from collections.abc import Sequence

COMMON = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "<eos>", "</s>")


def without(response: str, tokens: Sequence[str]) -> str:
    """The response without the tokens that stand at its very end, however many."""
    while found := next((token for token in tokens if response.endswith(token)), None):
        response = response.removesuffix(found)
    return response
