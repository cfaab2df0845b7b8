from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from service.engine.base import Prompt, common_length
from service.engine.local.plan import MIN_SHARED_TOKENS, TreePass, plan_passes
from tests.service.engine.local.prompts import prompts_strategy


def path(one: TreePass, row: int) -> list[int]:
    """The nodes from the root to the row's leaf."""
    leaf = one.leaves[row]
    return [at for at, node in enumerate(one.nodes) if node == leaf or node.end <= leaf.start < node.last]


@given(prompts_strategy, st.integers(1, 120), st.booleans(), st.data())
def test_a_plan_serves_each_prompt_once_within_the_limit(
    prompts: list[Prompt], budget: int, share: bool, data: st.DataObject
) -> None:
    accepted = [i for i in range(len(prompts)) if data.draw(st.booleans())]
    answer = data.draw(st.integers(0, 5))
    passes = list(plan_passes(prompts, accepted, max_batch_tokens=budget, share=share, answer_tokens=answer))
    assert sorted(index for one in passes for index in one.members) == accepted
    for one in passes:
        longest = max(len(prompts[index]) for index in one.members) + answer
        size = len(one.ids) + answer * len(one.members)
        assert len(one.members) == 1 or size <= max(budget, longest + budget // 4)
        assert len(one.ids) == sum(map(len, one.nodes)) == len(one.positions)


@given(prompts_strategy, st.booleans())
def test_a_rows_path_spells_its_prompt_and_positions_count_up(prompts: list[Prompt], share: bool) -> None:
    for one in plan_passes(prompts, range(len(prompts)), max_batch_tokens=10_000, share=share):
        owners: dict[int, set[str]] = {}
        paid: Counter[int] = Counter()
        for row, index in enumerate(one.members):
            nodes = [one.nodes[at] for at in path(one, row)]
            assert sum((one.ids[node.start : node.end] for node in nodes), ()) == prompts[index].ids
            spelled = [n for node in nodes for n in one.positions[node.start : node.end]]
            assert spelled == list(range(len(prompts[index])))
            assert all(node.first_row <= row < node.last_row for node in nodes)
            paid[index] = len(prompts[index]) - one.cached[row]
            for at in path(one, row):
                owners.setdefault(at, set()).add(prompts[index].salt)
        assert sum(paid.values()) == len(one.ids), "each token is paid for by one prompt"
        assert all(len(salts) == 1 for salts in owners.values())
        assert share or not one.shared_nodes


def test_a_groups_tree_has_the_conversation_the_responses_and_the_criteria() -> None:
    conversation = (1,) * 60
    shared = [conversation + (2,) * 40, conversation + (3,) * 50]
    (one,) = plan_passes([Prompt(s, (5, n)) for s in shared for n in range(3)], range(6), max_batch_tokens=1_000)
    assert [len(node) for node in one.shared_nodes] == [60, 40, 50]
    assert [(node.first_row, node.last_row) for node in one.shared_nodes] == [(0, 6), (0, 3), (3, 6)]
    assert one.cached == (0, 100, 100, 60, 110, 110)


def test_a_cut_group_computes_its_prefix_again_but_not_for_every_criterion() -> None:
    prompts = [Prompt((1,) * 950, (2,) * 10) for _ in range(60)]
    passes = list(plan_passes(prompts, range(60), max_batch_tokens=1_000))
    assert len(passes) == 3
    assert sum(len(one.ids) for one in passes) == 3 * 950 + 600


def test_what_is_hardly_in_common_is_computed_twice() -> None:
    prompts = [Prompt((1,) * (MIN_SHARED_TOKENS - 1) + (n,) * 20, (7,)) for n in (2, 3)]
    (one,) = plan_passes(prompts, range(2), max_batch_tokens=1_000)
    assert one.shared_nodes == () and one.cached == (0, 0)


@given(st.lists(st.integers(0, 2), max_size=30), st.lists(st.integers(0, 2), max_size=30))
def test_the_common_length_is_that_of_the_longest_common_prefix(a: list[int], b: list[int]) -> None:
    expected = next((n for n, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), min(len(a), len(b)))
    assert common_length(Prompt(tuple(a), (1,)), Prompt(tuple(b), (1,))) == expected
