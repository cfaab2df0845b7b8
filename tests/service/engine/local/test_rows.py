from hypothesis import given
from hypothesis import strategies as st

from service.engine.base import Prompt
from service.engine.local.rows import plan_rows
from tests.service.engine.local.prompts import prompts_strategy


@given(prompts_strategy, st.integers(1, 60), st.booleans(), st.data())
def test_groups_serve_each_prompt_once_within_the_budget(
    prompts: list[Prompt], budget: int, share: bool, data: st.DataObject
) -> None:
    accepted = [i for i in range(len(prompts)) if data.draw(st.booleans())]
    found = list(plan_rows(prompts, accepted, max_batch_tokens=budget, share=share))
    assert sorted(index for group in found for index in group.members) == accepted
    for group in found:
        assert not group.shared or (share and len(group.members) > 1)
        alike = {(prompts[index].salt, prompts[index].shared) for index in group.members}
        assert not group.shared or (len(alike) == 1 and group.shared in {shared for _, shared in alike})
        for one in group.passes:
            assert len(one) == 1 or len(one) * max(len(prompts[index]) for index in one) <= budget
