"""Every rule against texts whose truth a reader sees, and every edit against its rule."""

import pytest

from labelled.build import ANSWERS, written
from labelled.checks import language
from labelled.rules import LANGUAGES, RULES, Rule
from labelled.text import count_sentences
from labelled.topics import TOPICS

# For each rule: what stands in its places, a text of which it is true, and one of which it is false.
SEEN = {
    "word": (("oven",), "Heat the Oven.", "Heat the ovens."),
    "first word": (("Sure",), "Sure, rest.", "Rest, sure."),
    "question first": (("How?",), "How? So.", "So. How?"),
    "heading": ((), "# Answer\n\nRest.", "Rest. # no"),
    "bullet points": ((), "Do this:\n- rest", "Do this - rest."),
    "exclamation mark": ((), "Rest!", "Rest."),
    "comma": ((), "Rest, please.", "Rest."),
    "semicolon": ((), "Rest; wait.", "Rest: wait."),
    "parentheses": ((), "Rest (a lot).", "Rest :)"),
    "closing question": ((), "Rest. All right?", "Rest."),
    "postscript": ((), "Rest. P.S. Sleep.", "Rest. PS5."),
    "sentences": ((2,), "Rest. Sleep!", "Rest and sleep."),
    "capitals": ((), "REST NOW.", "REST Now."),
    "digits": ((), "Rest 2 days.", "Rest two days."),
    "you": ((), "You rest.", "Your rest."),
    "bold": ((), "Now **rest**.", "Now ** rest."),
    "both words": (("rest", "ice"), "Ice and rest.", "Rest."),
    "either word": (("rest", "ice"), "Ice.", "Nice."),
    "order": (("rest", "ice"), "Rest, then ice.", "Ice, then rest."),
    "last words": (("Good luck",), "Rest. Good luck!", "Good luck. Rest."),
    "signature": (("Anna",), "Rest. Yours, Anna", "Anna, rest."),
    "numbered steps": ((), "1. Rest\n2. Ice", "Rest 1. time"),
    "paragraphs": ((), "Rest.\n\nIce.", "Rest.\nIce."),
    "words": ((3,), "Rest for two days.", "Rest two days."),
    "small letters": ((), "rest now.", "Rest now."),
    "quotation marks": ((), '"Rest."', '"Rest." Ice.'),
    "JSON": ((), '{"answer": "Rest."}', '{"answer": "Rest."'),
    "language": (("French", ""), "Il faut le repos et la glace.", "The ice is good for you."),
    "repeated word": (("ice",), "Ice, ice, ice.", "Ice, ice, nice."),
    "thanks": ((), "Thanks a lot. Rest.", "Rest. Thanks."),
    "placeholder": ((), "Rest, [name].", "Rest, [ ."),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_says_what_a_reader_sees(rule: Rule) -> None:
    option, true, false = SEEN[rule.name]
    assert rule.holds(true, *option) and not rule.holds(false, *option)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_edits_make_a_rule_true_and_false_of_real_answers(rule: Rule) -> None:
    """Over all answers of the model: `make` is right nearly always. `unmake` leaves no text that was made true by an
    edit that it can undo."""
    made = tried = 0
    answers = written(ANSWERS)
    for topic in TOPICS:
        for question in topic.questions:
            for option in rule.options(topic, question)[:3]:
                tried += 1
                made += rule.holds(rule.make(answers[question], *option), *option)
    assert made >= 0.95 * tried


def test_no_rule_family_question_or_answer_is_in_both_halves() -> None:
    halves = {half: [rule for rule in RULES if rule.half == half] for half in ("train", "held_out")}
    assert not {one.family for one in halves["train"]} & {one.family for one in halves["held_out"]}
    assert len({rule.name for rule in RULES}) == len(RULES)
    asked = {half: {one for topic in TOPICS if topic.half == half for one in topic.questions} for half in halves}
    assert not asked["train"] & asked["held_out"]
    answers = written(ANSWERS)
    assert not {answers[one] for one in asked["train"]} & {answers[one] for one in asked["held_out"]}
    assert set(answers) == asked["train"] | asked["held_out"]


def test_hand_written_answers_are_in_their_languages() -> None:
    rule = next(rule for rule in RULES if rule.name == "language")
    wrong = [
        (topic.name, name)
        for topic in TOPICS
        for name in LANGUAGES
        for other in (*LANGUAGES, "English")
        if rule.holds(topic.languages[name], other, "") != (name == other)
    ]
    assert wrong == []
    assert {language(answer) for answer in written(ANSWERS).values()} <= {"English", None}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("Rest.", 1),
        ("Rest", 1),
        ("Rest. Ice", 2),
        ("Rest... Ice!", 2),
        ("2.5 ml is fine.", 1),
        ("P.S. Ice.", 1),
    ],
)
def test_sentences_are_counted_as_a_reader_counts_them(text: str, count: int) -> None:
    assert count_sentences(text) == count
