"""The judge with declared errors: it agrees with the truth as far as was asked, in each form, and repeats itself."""

import asyncio
from functools import partial

import pytest

from miniature.experiment import erring_judge
from miniature.experiment.erring_judge import FORMS, Form, erring
from miniature.experiment.exact_service import serving
from miniature.world.clinic import rubric
from miniature.world.oracle import met
from miniature.world.ratings import reference_answer
from miniature.world.tasks import rows, topic_of, truth
from trainer_client.client import JudgeClient, reward

SAID = tuple(f"For Stiff Knee: 1. Drink ginger tea. 2. Use a wet towel. 3. Eat {meal}." for meal in ("oats", "walnuts"))


@pytest.mark.parametrize("form", FORMS)
def test_it_agrees_as_far_as_was_asked_and_errs_more_the_less(form: Form) -> None:
    found = [erring(form, wanted) for wanted in (0.9, 0.7, 0.5)]
    assert [one.agreement for one in found] == pytest.approx([0.9, 0.7, 0.5], abs=0.01)
    assert found[0].errors < found[1].errors < found[2].errors


@pytest.mark.parametrize("form", ["verdicts", "rating", "alone"])
def test_without_errors_it_says_the_truth(form: Form) -> None:
    for row in rows("train")[:5]:
        topic = topic_of(row["id"])
        for text in SAID:
            exact = truth(topic, text)
            assert FORMS[form](topic, text, 0.0) == pytest.approx(exact if form == "verdicts" else max(exact, 0.0))


def test_verdicts_are_wrong_as_often_as_declared() -> None:
    rubrics = [topic_of(row["id"]) for row in rows("train")[:20]]
    texts = [f"{SAID[0]} 4. Take {n}." for n in range(60)]
    wrong = [
        erring_judge.turned(one.text, text, 0.2) != met(one, text)
        for topic in rubrics
        for one in rubric(topic)
        for text in texts
    ]
    assert sum(wrong) / len(wrong) == pytest.approx(0.2, abs=0.02)


def test_each_mode_is_answered_over_http_and_alike_the_second_time() -> None:
    row = rows("train")[0]
    reference = reference_answer(topic_of(row["id"]))
    asked = {**row, "responses": list(SAID)}

    async def scores(url: str) -> list[list[float | None]]:
        async with JudgeClient(url) as client:
            return [
                [reward(one) for one in await client.score([item], **options)]  # type: ignore[arg-type]
                for item, options in (
                    (asked, {}),
                    (asked, {"mode": "implicit"}),
                    ({**asked, "rubric": None}, {"mode": "likert"}),
                    ({**asked, "rubric": None, "reference": reference}, {"mode": "likert"}),
                )
            ]

    with serving(partial(erring_judge.answer, agreement=0.7)) as url:
        found = asyncio.run(scores(url))
        assert found == asyncio.run(scores(url))
    topic = topic_of(row["id"])
    for own, form in zip(found, FORMS, strict=True):
        assert own == pytest.approx([FORMS[form](topic, text, erring(form, 0.7).errors) for text in SAID])


def test_a_question_of_another_world_is_an_error() -> None:
    with pytest.raises(KeyError):
        erring_judge.answer({"items": [{"prompt": "Why?", "response": "So."}], "mode": "likert"}, 0.7)
