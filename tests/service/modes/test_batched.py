"""Each verdict of a document is read behind what the judge wrote before it, and prompts share what is common."""

import json

from service.engine.base import EngineIdentity, Generation, GenerationQuery, common_length
from service.errors import EngineFailed, Unparseable
from service.modes.batched import BatchedMode
from service.modes.modes import Query, Reads, render_prompts
from service.modes.registry import judging_modes
from service.modes.served_modes import BATCHED
from service.rubrics.judgement import BatchVerdict
from service.rubrics.rubric import Candidate, Criterion, Turn
from service.settings import ModeSettings
from testkit.tokenizer_families import family

ENTRIES = {
    "c1": {"explanation": "It names ice.", "criteria_met": True},
    "c2": {"explanation": "yes yes", "criteria_met": False},
    "c3": {"explanation": "No doctor is in it.", "criteria_met": True},
}


def mode_of() -> BatchedMode:
    found = judging_modes(EngineIdentity("m", "", "fake", {}), family("qwen"), ModeSettings()).ways[BATCHED]
    assert isinstance(found, BatchedMode)
    return found


def reads() -> tuple[GenerationQuery, Reads]:
    mode = mode_of()
    criteria = tuple(Criterion(f"id {n}", f"Criterion number {n}.", 1.0) for n in range(3))
    asked = Query(Candidate("0", (Turn("user", "My knee hurts."),), "Rest it.", criteria), None, judgements=3)
    [prompt] = render_prompts(mode.renderer, [asked], "salt", 2)
    step = mode.first_step(prompt, asked)
    found = mode.next_step(step, Generation(json.dumps(ENTRIES), finished=True, tokens=9))
    assert isinstance(found, Reads) and isinstance(step.query, GenerationQuery)
    return step.query, found


def test_a_verdict_is_read_behind_the_entries_before_it_also_those_that_do_not_count() -> None:
    written, found = reads()
    tokenizer = family("qwen")
    texts = [str(tokenizer.decode(list(query.prompt.ids[len(written.prompt) :]))) for query in found.queries]
    assert [text.rstrip() for text in texts] == [
        '{"c1": {"explanation": "It names ice.", "criteria_met":',
        '{"c1": {"explanation": "It names ice.", "criteria_met": true}, '
        '"c2": {"explanation": "yes yes", "criteria_met": false}, '
        '"c3": {"explanation": "No doctor is in it.", "criteria_met":',
    ], "c2 has no explanation, and is not asked"
    assert {(query.prompt.salt, query.prompt.priority) for query in found.queries} == {("salt", 2)}


def test_the_prompts_of_one_document_are_computed_together_up_to_where_they_part() -> None:
    written, found = reads()
    first, last = (query.prompt for query in found.queries)
    assert common_length(first, last) == len(first.shared) == len(written.prompt) + 1
    assert first.ids[: len(written.prompt)] == written.prompt.ids


def test_a_failed_reading_is_that_criterions() -> None:
    _, found = reads()
    joined = found.join([EngineFailed("not this one"), EngineFailed("nor this")])
    assert isinstance(joined, BatchVerdict)
    first, second, third = joined.verdicts
    assert isinstance(first, EngineFailed) and isinstance(third, EngineFailed) and isinstance(second, Unparseable)


def test_ids_points_and_their_signs_are_in_no_prompt() -> None:
    mode = mode_of()
    texts = []
    for id, points in (("a secret id", 7.0), ("b", -3.0)):
        asked = Candidate("0", (Turn("user", "My knee hurts."),), "Rest it.", (Criterion(id, "It rests.", points),))
        [prompt] = render_prompts(mode.renderer, [Query(asked, None)], "", 0)
        texts.append(prompt.ids)
    assert texts[0] == texts[1]
