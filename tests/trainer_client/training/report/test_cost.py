"""What judging took is a sum over batches, and money needs every price."""

import pytest

from trainer_client.training.report.cost import cost, figures, money, total

READ, WRITTEN = "judge/usage/prompt_tokens", "judge/usage/completion_tokens"


def _logs(*steps: float) -> list[dict[str, float]]:
    return [{"step": step, "reward": 0.5, READ: 1e6, WRITTEN: 5e5} for step in steps]


def test_a_log_counts_for_the_batches_since_the_one_before() -> None:
    assert total(_logs(1, 2, 3), READ) == 3e6
    assert total(_logs(10, 20), READ) == 2e7, "the mean of ten batches is of ten batches"
    assert total([{"step": 1, "reward": 0.5}], READ) is None


def test_money_is_of_all_tokens_or_not_there() -> None:
    assert money(_logs(1, 2), (0.5, 2.0)) == pytest.approx(2 * (0.5 + 1.0))
    assert money(_logs(1), (0.5, None)) is None and money(_logs(1), (None, None)) is None
    assert money([{"step": 1, "reward": 0.5, READ: 1e6}], (0.5, 2.0)) is None
    assert dict(figures(_logs(1), (0.5, 2.0)))["money"] == pytest.approx(1.5)


def test_a_run_without_costs_has_no_section() -> None:
    assert cost([{"step": 1, "reward": 0.5}], (1.0, 1.0)) == ""
    assert "tokens read" in cost(_logs(1), (None, None)) and ">money<" not in cost(_logs(1), (None, None))
