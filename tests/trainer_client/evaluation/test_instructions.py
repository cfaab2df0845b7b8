"""Strict and loose accuracy as IFEval counts them."""

from trainer_client.evaluation.instructions import followed, loosely, versions


def test_the_versions_are_the_eight_of_ifeval_without_repetition() -> None:
    assert versions("Sure!\n**One**\ntwo\nBye") == [
        "Sure!\n**One**\ntwo\nBye",
        "**One**\ntwo\nBye",
        "Sure!\n**One**\ntwo",
        "**One**\ntwo",
        "Sure!\nOne\ntwo\nBye",
        "One\ntwo\nBye",
        "Sure!\nOne\ntwo",
        "One\ntwo",
    ]
    assert versions("one line") == ["one line"]
    assert versions("a\n\nb") == ["a\n\nb", "b", "a"]
    assert versions(" \n ") == []


def test_an_instruction_is_loosely_followed_where_any_version_follows_it() -> None:
    assert loosely([[False, True, None, None], [False, False, None, False], [True, False, True, False]]) == [
        True,
        True,
        True,
        None,
    ]


def test_the_four_accuracies_by_hand() -> None:
    strict: dict[str, list[bool | None]] = {"a": [True, True], "b": [True, False, False], "c": [None, True]}
    loose: dict[str, list[bool | None]] = {"a": [True, True], "b": [True, True, True], "c": [None, True]}
    found = followed(strict, loose)
    assert (found.prompt_strict, found.prompt_loose, found.prompts) == (1 / 2, 2 / 2, 2)
    assert (found.instruction_strict, found.instruction_loose, found.instructions) == (4 / 6, 6 / 6, 6)
    assert followed({}, {}).prompt_strict is None
