"""The work of the comparison and its prompts, made for the tokenizer of its models."""

import json
from typing import Any

import pytest

from loadtests.throughput import models, workload
from loadtests.throughput.requests import AFTER, BEFORE, DECODED, Prompts
from testkit import prefix_cache_bound


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return models.train_tokenizer()


@pytest.fixture(scope="module")
def prompts(tokenizer: Any) -> Prompts:
    return Prompts(tokenizer, models.LABELS)


@pytest.fixture(scope="module")
def group(prompts: Prompts) -> workload.Group:
    return workload.group("a test", prompts.cut)


def test_a_group_has_the_sizes_that_it_says(prompts: Prompts, group: workload.Group) -> None:
    def tokens(text: str) -> int:
        return len(prompts.segmenter.encode_untrusted(text))

    assert (tokens(group.conversation), group.verdicts) == (workload.CONVERSATION, 96)
    assert {tokens(response) for response in group.responses} == {workload.RESPONSE}
    assert len(group.responses) == workload.RESPONSES
    lengths = [tokens(criterion) for criterion in group.criteria]
    assert len(lengths) == workload.CRITERIA
    assert workload.CRITERION - workload.SPREAD <= min(lengths) < max(lengths) <= workload.CRITERION + workload.SPREAD


def test_the_same_seed_gives_the_same_text_and_another_one_another_beginning(
    prompts: Prompts, group: workload.Group
) -> None:
    assert workload.group("a test", prompts.cut) == group
    other = workload.group("another", prompts.cut)
    assert other.conversation[:40] != group.conversation[:40]
    assert len({response[:40] for response in group.responses}) == workload.RESPONSES


def test_the_tokenizer_is_the_same_each_time(tokenizer: Any) -> None:
    assert models.train_tokenizer().get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("labels", [("Yes", "No"), ("true", "false")])
def test_labels_are_one_token_each_after_the_prompt(tokenizer: Any, labels: tuple[str, str]) -> None:
    assert len(set(Prompts(tokenizer, labels).label_ids)) == 2


def test_a_text_that_is_too_short_is_not_cut(prompts: Prompts) -> None:
    with pytest.raises(ValueError, match="cannot be cut"):
        prompts.cut("short", 50)


def _total(prompts: list[list[tuple[int, ...]]]) -> int:
    return sum(len(ids) for response in prompts for ids in response)


def test_everybody_is_sent_the_service_s_text(tokenizer: Any, prompts: Prompts, group: workload.Group) -> None:
    """Token counts may differ by one where two segments meet; the text may not."""
    ours = [[tokenizer.decode(ids) for ids in response] for response in prompts.token_ids(group)]
    calls = [json.loads(body) for body in prompts.generative_scoring(group)]
    chats = [[json.loads(body)["messages"] for body in bodies] for bodies in prompts.one_token_chat(group)]
    assert [[call["query"] + item for item in call["items"]] for call in calls] == ours
    rendered = [
        [tokenizer.apply_chat_template(chat, tokenize=False, continue_final_message=True) for chat in response]
        for response in chats
    ]
    assert rendered == ours


def test_the_published_pattern_has_the_published_sizes(prompts: Prompts, group: workload.Group) -> None:
    one = json.loads(prompts.json_per_criterion(group, hot=True)[0][0])
    assert one["max_tokens"] == one["min_tokens"] == DECODED
    content = one["messages"][0]["content"]
    before = content.partition("# Conversation")[0]
    after = content.partition(group.criteria[0])[2]
    assert len(prompts.segmenter.encode_untrusted(before)) == BEFORE
    assert len(prompts.segmenter.encode_untrusted(after)) == pytest.approx(AFTER, abs=2)
    assert all(text in content for text in (group.conversation, group.responses[0]))


def test_the_theory_holds_for_the_prompts_that_are_sent(prompts: Prompts, group: workload.Group) -> None:
    rendered = prompts.token_ids(group)
    conversation, responses = prompts.lengths(group)
    flat = [ids for response in rendered for ids in response]
    assert prefix_cache_bound.cached(flat, 128) == prefix_cache_bound.group_cached(
        conversation, responses, workload.CRITERIA, 128
    )
    assert 0.85 < prefix_cache_bound.cached(flat, 128) / _total(rendered) < 0.92
