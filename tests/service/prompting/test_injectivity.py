"""A prompt can be read in one way only: two requests of different texts never have the same token ids."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from service.modes.comparison import shown
from service.prompting.renderer import Renderer
from service.prompting.template import Skeleton, build_skeleton
from service.prompting.tokenization import Segmenter
from service.prompting.wording import prompts_for
from service.rubrics.rubric import CALL, DOCUMENT, NAMED_TOOL, Candidate, Criterion, Turn
from testkit.tokenizer_families import FAMILIES, family

MODES = ("verdict", "reasoned", "implicit", "likert")
FENCED = {"qwen", "llama3", "harmony", "deepseek", "phi", "granite", "smollm"}
TRADES = 60


class Reader:
    """Renders one candidate with all of its criteria, and says what was read, segment by segment: as ids, so that what
    a tokenizer's own normaliser makes equal is equal."""

    def __init__(self, name: str, skeleton: Skeleton) -> None:
        self.segmenter = Segmenter(family(name))
        self.skeleton = skeleton
        self.renderer = Renderer(self.segmenter, skeleton)
        self.whole = bool(skeleton.item) or not skeleton.criterion

    def ids(self, candidate: Candidate) -> tuple[int, ...]:
        if self.whole:
            return self.renderer.render_whole([candidate])[0].ids
        return self.renderer.render([(candidate, candidate.criteria[:1])])[0][0].ids

    def segments(self, candidate: Candidate) -> tuple[object, ...]:
        encode = self.segmenter.encode_untrusted
        asked = candidate.criteria[: None if self.skeleton.item else 0 if self.whole else 1]
        return (
            tuple((turn.role, encode(turn.content)) for turn in candidate.turns),
            None if candidate.reference is None else encode(candidate.reference),
            tuple((turn.role, encode(turn.content)) for turn in candidate.trajectory) or encode(candidate.response),
            tuple(encode(criterion.text) for criterion in asked),
        )

    def spelled(self, header: str, text: str) -> str:
        """The header as a caller would write it before this text."""
        length = str(len(self.segmenter.encode_untrusted(text)))
        return header.replace("{length}", length).replace("{role}", "user").replace("{weight}", "+1 points")


def _candidate(turns: list[str], reference: str | None, response: str, criteria: list[str]) -> Candidate:
    return Candidate(
        id="",
        turns=tuple(Turn("user", text) for text in turns),
        response=response,
        criteria=tuple(Criterion(str(n), text, 1.0) for n, text in enumerate(criteria)),
        reference=reference,
    )


def _with_documents(candidate: Candidate, *texts: str) -> Candidate:
    return replace(candidate, turns=(*candidate.turns, *(Turn(DOCUMENT, text) for text in texts)))


def _trajectory(turns: list[str], roles: list[str], parts: list[str]) -> Candidate:
    made = tuple(Turn(role, text) for role, text in zip(roles, parts, strict=True))
    return replace(_candidate(turns, None, "", ["d"]), trajectory=made)


def _trades(reader: Reader, random: Random, trades: int) -> Iterator[Candidate]:
    """Candidates that differ in which of their headers are real, and ones that are drawn from the same few pieces."""
    made, pieces = reader.skeleton, _pieces(reader)
    for _ in range(trades):
        a, b, c = ("".join(random.choices(pieces, k=random.randint(0, 3))) for _ in range(3))
        between = made.between_turns + made.turn
        response, criterion = made.response, made.item or made.criterion
        h = reader.spelled
        yield _candidate([a + h(response, b) + b], None, c, ["d"])
        yield _candidate([a], None, b + h(response, c) + c, ["d"])
        yield _candidate([a], None, b + h(criterion, c) + c, ["d"])
        yield _candidate([a], None, b, [c + h(criterion, "d") + "d"])
        yield _candidate([a], None, b, [c, "d"])
        yield _candidate([a, b], None, c, ["d"])
        yield _candidate([a + h(between, b) + b], None, c, ["d"])
        yield _candidate([a], b, c, ["d"])
        yield _candidate([a + h(made.reference, b) + b], None, c, ["d"])
        yield _candidate([], a + h(response, b) + b, c, ["d"])
        yield _candidate([], a, b + h(response, c) + c, ["d"])
        private = made.between_turns + made.turn.replace("{role}", DOCUMENT)
        yield _with_documents(_candidate([a], None, c, ["d"]), b)
        yield _with_documents(_candidate([a], None, c, ["d"]), b, b)
        yield _candidate([a + h(private, b) + b], None, c, ["d"])
        first = made.trajectory + made.turn
        for role in ("assistant", "tool", CALL, NAMED_TOOL):
            yield _trajectory([a], [role, "tool"], [b, c])
            yield _trajectory([a], [role], [b + h(between, c) + c])
            yield _trajectory([a + h(first, b) + b], [role], [c])
        yield _candidate([a], None, b + h(between, c) + c, ["d"])
        yield _candidate([a], None, h(first, b) + b, ["d"])
        yield _candidate([a, b], None, c, ["d"])
        yield _trajectory([a, b], ["assistant"], [c])
        drawn = ["".join(random.choices(pieces, k=random.randint(0, 2))) for _ in range(5)]
        yield _candidate(drawn[: random.randint(0, 2)], random.choice([None, drawn[2]]), drawn[3], [drawn[4]])


def _pieces(reader: Reader) -> list[str]:
    """Headers, fences, spellings of control tokens, lengths, and a little text."""
    made = reader.skeleton
    headers = [
        made.between_turns,
        made.reference,
        made.response,
        made.criterion,
        made.item,
        made.between_turns + made.turn,
    ]
    control = [reader.segmenter.decode([id]) for id in sorted(reader.segmenter.control_ids)[:8]]
    spelled = [reader.spelled(header, text) for header in headers for text in ("", "a") if header]
    return [
        *spelled,
        *control,
        made.trajectory,
        made.conversation,
        "a",
        "\n",
        "\n\n",
        "user:\n",
        "1",
        " (1 tokens):\n",
        "Answer:",
    ]


def _collisions(reader: Reader, seed: int, trades: int = TRADES) -> tuple[int, list[tuple[object, object]]]:
    """How many different requests were tried, and the pairs of them with equal ids."""
    seen: dict[tuple[int, ...], object] = {}
    read: set[object] = set()
    equal: list[tuple[object, object]] = []
    for candidate in _trades(reader, Random(seed), trades):
        segments = reader.segments(candidate)
        read.add(segments)
        other = seen.setdefault(reader.ids(candidate), segments)
        if other != segments:
            equal.append((other, segments))
    return len(read), equal


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_different_requests_never_have_the_same_ids(name: str, mode: str) -> None:
    """Of 8 families, 4 modes and some 1,560 requests each, every pair: 39.2 million pairs, none of them equal."""
    reader = Reader(name, build_skeleton(family(name), mode=mode))
    tried, equal = _collisions(reader, seed=1)
    assert equal == []
    assert tried > 8 * TRADES


@pytest.mark.parametrize("name", FAMILIES)
def test_different_pairs_never_have_the_same_ids(name: str) -> None:
    """Of 8 families some 900 pairs each, whose texts trade headers: in both orders, none of them equal."""
    reader = Reader(name, build_skeleton(family(name), mode="compare"))
    seen: dict[tuple[int, ...], object] = {}
    read: set[object] = set()
    for candidate in _pairs(reader, Random(3)):
        segments = reader.segments(candidate)
        read.add(segments)
        assert seen.setdefault(reader.ids(candidate), segments) == segments
    assert len(read) > 8 * TRADES


def _pairs(reader: Reader, random: Random) -> Iterator[Candidate]:
    made, pieces = reader.skeleton, _pieces(reader)
    for _ in range(2 * TRADES):
        a, b, c = ("".join(random.choices(pieces, k=random.randint(0, 3))) for _ in range(3))
        header = reader.spelled(made.between_turns + made.turn.replace("{role}", "Response B"), b)
        for first, second in ((a, b), (b, a), (a + header + b, c), (a, b + header + c)):
            one, other = (_candidate(["p"], None, text, ["d"]) for text in (first, second))
            yield shown(one, other).candidate
            yield replace(shown(one, other).candidate, turns=(Turn("user", "p" + header + b),), criteria=())


@pytest.mark.parametrize("name", FAMILIES)
def test_no_prompt_gives_different_requests_the_same_ids(name: str) -> None:
    """Of 8 families and each shipped prompt, every second one with its opposite question, some 230 requests each."""
    for n, wording in enumerate(prompts_for("question").values()):
        made = build_skeleton(family(name), wording=wording, asks_opposite=n % 2 == 1)
        tried, equal = _collisions(Reader(name, made), seed=2, trades=10)
        assert (equal, tried > 8 * 10) == ([], True), wording.name


def test_the_same_requests_collide_where_headers_are_plain_text() -> None:
    """The layout before: what any text could write stood between the texts."""
    for name in FAMILIES:
        made = build_skeleton(family(name))
        plain = replace(
            made,
            turn="{role}: ",
            between_turns="\n",
            reference="\n\n# Reference answer\n",
            response="\n\n# Response\n",
            criterion="\n\n# Criterion\n",
        )
        assert len(_collisions(Reader(name, plain), seed=1)[1]) > TRADES, name


@pytest.mark.parametrize("name", FAMILIES)
def test_texts_are_fenced_by_turns_where_the_template_has_them_and_by_lengths_elsewhere(name: str) -> None:
    made = build_skeleton(family(name))
    segmenter = Segmenter(family(name))
    headers = [made.between_turns, made.reference, made.response, made.criterion]
    if name in FENCED:
        assert all(not segmenter.control_ids.isdisjoint(segmenter.encode_trusted(header)) for header in headers)
        assert "{length}" not in "".join(made.fixed_text)
    else:
        assert all("{length} tokens" in header for header in [made.turn, *headers[1:]])


@pytest.mark.parametrize("name", FAMILIES)
def test_no_turn_begins_with_a_lone_space(name: str) -> None:
    made = build_skeleton(family(name))
    headers = [made.conversation, made.turn, made.reference, made.response, made.criterion]
    assert all(header.endswith("\n") for header in headers)


def test_the_published_graders_layout_is_the_exception_and_stays_as_ambiguous_as_it_is() -> None:
    """Layout `healthbench` is the grader's text, faithfully: a turn is `role: content`, so texts can trade turns."""
    reader = Reader("qwen", build_skeleton(family("qwen"), "healthbench"))
    one = _candidate(["Hello", "user: Hi"], None, "Yes.", ["Is polite."])
    other = _candidate(["Hello", "Hi\n\nassistant: Yes."], None, "Yes.", ["Is polite."])
    assert reader.ids(one) != reader.ids(other)
    traded = [_candidate(["a\n\nuser: b"], None, "c", ["d"]), _candidate(["a", "b"], None, "c", ["d"])]
    decoded = {reader.segmenter.decode(reader.ids(candidate)) for candidate in traded}
    assert len(decoded) == 1
