"""Tests of routes: the first one that is fulfilled, and that a response decides nothing."""

from dataclasses import replace

from service.judges.route_conditions import Condition, conversation_of, routes
from service.rubrics.rubric import Candidate, Criterion, Turn

ENGLISH = (Turn("user", "What should I do about the pain in my knee when I run in the park?"),)
GERMAN = (
    Turn("system", "You are a helpful assistant that answers the questions of the user."),
    Turn("user", "Was kann ich tun, wenn mein Knie beim Laufen weh tut und die Schmerzen nicht aufhören?"),
)


def candidate(turns: tuple[Turn, ...], response: str = "Rest.", **tags: str) -> Candidate:
    return Candidate("0", turns, response, (Criterion("c", "Says it.", 1.0, tags=tags),))


def test_the_first_route_that_is_fulfilled_decides_and_the_default_otherwise() -> None:
    conditions = [
        Condition(tag="theme:math", language="de"),
        Condition(tag="theme:math"),
        Condition(tag="safety"),
        Condition(language="de"),
        Condition(longer_than=100),
    ]
    long = (Turn("user", "x" * 101),)
    asked = [
        candidate(GERMAN, theme="math"),
        candidate(ENGLISH, theme="math"),
        candidate(ENGLISH, theme="law", safety="any"),
        candidate(GERMAN),
        candidate(long),
        candidate(ENGLISH),
    ]
    assert routes(conditions, asked) == [[0], [1], [2], [3], [4], [5]]


def test_responses_of_one_group_have_one_judge() -> None:
    conditions = [Condition(language="de"), Condition(longer_than=80)]
    responses = ["", "Ja, das ist nicht gut und ich würde die Übungen lassen.", "word " * 5_000]
    asked = [replace(candidate(ENGLISH), response=response) for response in responses]
    assert len({tuple(one) for one in routes(conditions, asked)}) == 1


def test_the_language_is_the_users_and_the_length_is_of_all_turns() -> None:
    found = conversation_of(GERMAN, with_language=True)
    assert (found.language, found.characters) == ("de", sum(len(turn.content) for turn in GERMAN))
    assert conversation_of(GERMAN, with_language=False).language is None
    assert conversation_of((), with_language=True).language is None
