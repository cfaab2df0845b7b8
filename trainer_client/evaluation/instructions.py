"""Counts how instructions that rules can check are followed, as IFEval does: strictly and loosely. Pure.

Loosely an instruction is followed where one of eight versions of the answer follows it: without its first line, its
last line, or both, and each with and without asterisks (`test_instruction_following_loose`). An answer of white space
follows nothing.

Guarantees: strict followed is loose followed. An instruction that was not checked is not counted, and its prompt is in
no figure at prompt level.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Followed = bool | None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The four accuracies of IFEval, each with the number that it is of; None of nothing."""

    prompt_strict: float | None
    prompt_loose: float | None
    instruction_strict: float | None
    instruction_loose: float | None
    prompts: int
    instructions: int


def versions(answer: str) -> list[str]:
    """The answer, and then its other versions that say something, without repetition."""
    lines = answer.split("\n")
    cut = ["\n".join(some).strip() for some in (lines[1:], lines[:-1], lines[1:-1])]
    plain = [one.replace("*", "") for one in (answer, *cut)]
    return list(dict.fromkeys(one for one in (answer, *cut, *plain) if one.strip()))


def loosely(by_version: Sequence[Sequence[Followed]]) -> list[Followed]:
    """For each instruction whether any version follows it; None where none does and one was not checked. `by_version`
    has a row for each version."""
    return [
        True if any(one is True for one in column) else None if None in column else False
        for column in zip(*by_version, strict=True)
    ]


def followed(strict: Mapping[str, Sequence[Followed]], loose: Mapping[str, Sequence[Followed]]) -> Accuracy:
    """The accuracies over answers by name, each with its instructions."""
    flat_strict = [one for some in strict.values() for one in some if one is not None]
    flat_loose = [one for some in loose.values() for one in some if one is not None]
    whole_strict, whole_loose = _whole(strict.values()), _whole(loose.values())
    return Accuracy(
        _share(whole_strict),
        _share(whole_loose),
        _share(flat_strict),
        _share(flat_loose),
        len(whole_strict),
        len(flat_strict),
    )


def whole(instructions: Sequence[Followed]) -> Followed:
    """Whether all of them are followed; None where that is open."""
    return None if None in instructions else all(instructions)


def _whole(answers: Iterable[Sequence[Followed]]) -> list[bool]:
    return [one for some in answers if (one := whole(some)) is not None]


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None
