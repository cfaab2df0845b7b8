"""One rubric is written: faults and findings go back, within bounds, and the best draft is taken."""

import json
from collections.abc import Sequence

import pytest

from tests.trainer_client.generation.drafts import SUBJECTS, Script, categories, orders, points, source
from trainer_client import wire
from trainer_client.generation.shapes import NotARubric
from trainer_client.generation.writing import Lint, write


def _finding(code: str, criterion: str | None = "0", severity: str = "warning") -> wire.Finding:
    return wire.Finding.model_validate(
        {"code": code, "severity": severity, "criterion": criterion, "message": f"correct the {code}"}
    )


def _linter(*answers: Sequence[wire.Finding]) -> Lint:
    left = list(answers)

    def lint(rubric: wire.Rubric, reference: str | None) -> Sequence[wire.Finding]:
        return left.pop(0)

    return lint


async def test_a_good_draft_is_the_rubric() -> None:
    chat = Script(points())
    written = await write(chat, source(), orders(seed=7))
    assert [one.text for one in written.draft.rubric.criteria][:2] == [
        f"Mentions {s} for the knee." for s in SUBJECTS[:2]
    ]
    assert (written.refused, written.rounds, written.model, written.reference) == (0, 0, "writer-7b", "none")
    ((messages, seed, schema),) = chat.asked
    assert seed == 7 and schema is not None and "rubrics" in schema["properties"]
    assert [turn["role"] for turn in messages] == ["system", "user"]


async def test_faults_go_back_with_the_draft_that_has_them() -> None:
    chat = Script("no", points({"points": 12}), points())
    written = await write(chat, source(), orders())
    assert written.refused == 2 and len(written.draft.rubric.criteria) == 8
    (_, second, third) = (messages for messages, _, _ in chat.asked)
    assert second[-2] == {"role": "assistant", "content": "no"}
    assert "not one JSON object" in second[-1]["content"]
    assert "rubrics.0.points: input should be less" in third[-1]["content"] and len(third) == 4, (
        "the first fault is not said again"
    )
    assert [seed for _, seed, _ in chat.asked] == [0, 1, 2]


async def test_after_the_last_attempt_the_row_has_none() -> None:
    chat = Script("no")
    with pytest.raises(NotARubric, match="not one JSON object") as refused:
        await write(chat, source(), orders(attempts=3))
    assert len(chat.asked) == 3 == refused.value.drafts


async def test_a_draft_that_was_cut_off_is_not_used() -> None:
    with pytest.raises(NotARubric, match="raise --max-tokens"):
        await write(Script(points(), finish="length"), source(), orders(attempts=1))


async def test_repetitions_are_merged_and_told_where_too_few_are_left() -> None:
    twice = points({}, {"criterion": "States rest for the knee.", "points": 2})
    written = await write(Script(twice), source(), orders())
    assert [one.left_out.text for one in written.draft.merged] == ["States rest for the knee."]
    same = points(*({"criterion": f"{word} rest for the knee."} for word in ("Says", "Names", "Gives", "Tells")))
    chat = Script(same, points())
    written = await write(chat, source(), orders())
    assert written.refused == 0, "five are left, as many as the template wants"
    fewer = points(
        *({"criterion": f"{word} rest for the knee."} for word in ("Says", "Names", "Gives", "Tells", "Notes"))
    )
    chat = Script(fewer, points())
    written = await write(chat, source(), orders())
    assert written.refused == 1 and not written.draft.merged
    assert "without repetitions 4 are left" in chat.asked[1][0][-1]["content"]


async def test_findings_go_back_with_the_text_that_they_are_about() -> None:
    chat = Script(points({"criterion": "Is helpful."}), points())
    lint = _linter([_finding("vague"), _finding("no_positive_points", None)], [])
    written = await write(chat, source(), orders(lint=lint))
    told = chat.asked[1][0][-1]["content"]
    assert '- "Is helpful.": correct the vague' in told and "- correct the no_positive_points" in told
    assert (written.rounds, written.draft.findings) == (1, ()) and len(written.first) == 2


async def test_findings_go_back_no_oftener_than_allowed() -> None:
    for rounds in (0, 1, 2):
        chat = Script(points())
        many = [[_finding("vague")] * (9 - n) for n in range(9)]
        written = await write(chat, source(), orders(lint=_linter(*many), rounds=rounds))
        assert (len(chat.asked), written.rounds) == (rounds + 1, rounds)
        assert len(written.draft.findings) == 9 - rounds


async def test_the_draft_with_the_fewest_errors_then_findings_is_taken() -> None:
    first, worse = points(), points({"criterion": "Says much."})
    lint = _linter([_finding("vague"), _finding("vague")], [_finding("contradiction", severity="error")])
    written = await write(Script(first, worse), source(), orders(lint=lint, rounds=5))
    assert written.draft.rubric.criteria[0].text == "Mentions rest for the knee."
    assert written.rounds == 1, "a round that corrects nothing is the last"


async def test_a_revision_that_cannot_be_read_leaves_the_draft_that_can() -> None:
    chat = Script(points(), "no")
    written = await write(chat, source(), orders(lint=_linter([_finding("vague")]), attempts=2))
    assert len(written.draft.rubric.criteria) == 8 and written.refused == 2


@pytest.mark.parametrize(
    ("use", "given", "kind", "calls"),
    [
        ("use", "Rest it.", "given", 1),
        ("use", None, "none", 1),
        ("ignore", "Rest it.", "none", 1),
        ("write", "Rest it.", "given", 1),
        ("write", None, "written", 2),
    ],
)
async def test_references_are_used_ignored_or_written_first(use: str, given: str | None, kind: str, calls: int) -> None:
    chat = Script(*(["<think>\nHm.\n</think>\n\nRest it."] if calls == 2 else []), points())
    written = await write(chat, source(reference=given), orders(reference=use))
    assert (written.reference, len(chat.asked)) == (kind, calls)
    assert written.answer == ("Rest it." if kind == "written" else None)
    text = chat.asked[-1][0][1]["content"]
    assert ("Rest it." in text) is (kind != "none") and "Hm." not in text
    assert calls == 1 or chat.asked[0][2] is None, "an answer is no JSON"


async def test_the_linter_sees_the_answer_that_the_generator_saw() -> None:
    seen = []

    def lint(rubric: wire.Rubric, reference: str | None) -> Sequence[wire.Finding]:
        seen.append(reference)
        return ()

    for use, given in (("use", "Rest it."), ("ignore", "Rest it."), ("write", None)):
        chat = Script(*(["Ice it."] if use == "write" else []), points())
        await write(chat, source(reference=given), orders(reference=use, lint=lint))
    assert seen == ["Rest it.", None, "Ice it."]


async def test_an_empty_answer_is_no_reference() -> None:
    with pytest.raises(NotARubric, match="empty or was cut off"):
        await write(Script(" "), source(), orders(reference="write"))


async def test_a_pair_and_a_guideline_reach_the_generator() -> None:
    rules = json.dumps({"hard_rules": ["Is short."], "principles": ["Asks about fever."]})
    chat = Script(rules)
    await write(chat, source(pair=("Rest it.", "Run on.")), orders("contrastive"))
    assert "Rest it." in chat.asked[0][0][1]["content"] and "Run on." in chat.asked[0][0][1]["content"]
    quoted = json.dumps(
        {"rubrics": [{"criterion": f"Asks about {s}.", "points": 2, "quote": "Ask first."} for s in SUBJECTS]}
    )
    chat = Script(quoted)
    written = await write(chat, source(), orders("guideline", guideline="Ask first. Then help."))
    assert "Ask first. Then help." in chat.asked[0][0][1]["content"]
    assert written.draft.rubric.criteria[0].tags == {"quote": "Ask first."}


async def test_rar_asks_for_seven_items_at_least() -> None:
    items = json.loads(categories())["rubric"]
    chat = Script(json.dumps({"rubric": items[:6]}), categories())
    written = await write(chat, source(), orders("rar-medicine"))
    assert written.refused == 1 and len(written.draft.rubric.criteria) == 8
