"""Sentences of the documentation that state a figure of the code state the right one."""

import re
from pathlib import Path

import pytest

from service.api.bodies.parsing import MAX_VALUES
from service.engine.chat.messages import TOP
from service.scheduling.fair_share import CLASS_WEIGHTS
from service.scoring.canary import CANARY_CANDIDATES
from service.scoring.canary_timer import LABELLED_EVERY
from service.scoring.exam.grading import PROVEN_FROM
from service.settings import Settings
from service.tenancy.teams_file import MAX_KEYS
from service.verifiers.worker import MEMORY_BYTES
from tests.service.verifiers.math_answers import MET, NOT_MET
from trainer_client.agreement.bootstrap import RESAMPLES
from trainer_client.audit.checks import CHECKS, Check
from trainer_client.audit.effects import FEWEST_PROMPTS
from trainer_client.calibration import levels
from trainer_client.calibration.candidates import LEAST_OF_EACH
from trainer_client.calibration.choice import FOLDS
from trainer_client.calibration.made import LEAST_GROUPS
from trainer_client.cli.score import RETRIES
from trainer_client.http.retry import RetryPolicy
from trainer_client.wire import graded, models

DOCS = Path(__file__).resolve().parents[2] / "docs"
WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "Six", 12: "twelfth", 2 / 3: "two thirds"}
RETRY = RetryPolicy()
OF_EACH = (LEAST_OF_EACH, LEAST_GROUPS)
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}
CANARIES = sum(len(one.criteria) for one in CANARY_CANDIDATES)
SENTENCES: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("guide/client.md", "made {} times within a few seconds", (WORDS[RETRY.attempts],)),
    ("guide/client.md", "share {:g} retries, and earn one with every fifth answer", (RETRY.burst,)),
    ("guide/client.md", "RetryPolicy(attempts={}, burst={:g})", (RETRIES.attempts, RETRIES.burst)),
    ("operate/teams.md", "`interactive` {interactive:g}, `train` {train:g}, `eval` {eval:g}", (dict(CLASS_WEIGHTS),)),
    ("operate/teams.md", "A team may have {}\nkeys at a time", (WORDS[MAX_KEYS],)),
    ("operate/operations.md", "with at most {:,} values", (MAX_VALUES,)),
    ("operate/operations.md", "0, or 0.000001 to {:,.0f} in size", (models.MAX_POINTS,)),
    ("operate/operations.md", "value of a tag | {:,} characters", (models.MAX_TEXT_CHARACTERS,)),
    ("operate/operations.md", "key of a tag | {:,} characters", (models.MAX_ID_CHARACTERS,)),
    ("operate/operations.md", "| tags of a criterion | {} |", (models.MAX_TAGS,)),
    ("operate/operations.md", "| turns of a conversation | {:,} |", (models.MAX_TURNS,)),
    ("operate/engines.md", "from the top {} log-probabilities", (TOP,)),
    ("operate/modes.md", "{} fixed queries are judged at the start", (WORDS[CANARIES],)),
    ("operate/modes.md", "Each {} time the judge is also asked", (WORDS[LABELLED_EVERY],)),
    ("guide/judge-quality.md", "lies above {}: 33 of 40 pairs", (WORDS[PROVEN_FROM],)),
    ("guide/judge-quality.md", "from {:,} bootstrap resamples", (RESAMPLES,)),
    ("guide/calibrate.md", "{0} criteria that are met and {0} that are not, of at least {1}", OF_EACH),
    ("guide/calibrate.md", "in {} folds", (WORDS[FOLDS],)),
    ("guide/calibrate.md", "takes {} labelled criteria of {} prompts", (levels.LEAST, levels.LEAST_GROUPS)),
    ("guide/audit.md", "With fewer than {} prompts nothing passes", (FEWEST_PROMPTS,)),
    ("guide/levels.md", "There are 2 to {} levels", (graded.MOST_LEVELS,)),
    ("guide/rules.md", "a table of {} answers with", (len(MET) + len(NOT_MET),)),
    ("guide/rules.md", "of the {} that do not have the gold answer none is", (len(NOT_MET),)),
    ("guide/rules.md", "of the {} that have it 3 are missed", (len(MET),)),
    ("guide/rules.md", "has {} GiB of memory", (MEMORY_BYTES >> 30,)),
    ("guide/rules.md", "| time of a check | `rule_timeout_s`, {:g} s |", (DEFAULTS["rule_timeout_s"],)),
    ("guide/rules.md", "`max_rule_chars`, {:,} |", (DEFAULTS["max_rule_chars"],)),
    ("guide/rules.md", "`max_request_checks`, {:,} |", (DEFAULTS["max_request_checks"],)),
    ("guide/rules.md", "`max_team_queued_checks`, {:,} |", (DEFAULTS["max_team_queued_checks"],)),
    ("guide/rules.md", "`max_queued_checks`, {:,} |", (DEFAULTS["max_queued_checks"],)),
)  # fmt: skip


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize(("page", "sentence", "figures"), SENTENCES, ids=[f"{one[0]}: {one[1]}" for one in SENTENCES])
def test_a_figure_is_that_of_the_code(page: str, sentence: str, figures: tuple[object, ...]) -> None:
    named = figures[0] if isinstance(figures[0], dict) else {}
    said = sentence.format(*figures, **named)
    assert _flat(said) in _flat((DOCS / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_an_audits_table_has_every_check_with_its_limits(check: Check) -> None:
    [row] = re.findall(rf"^\| `{check.name}` \|.*$", (DOCS / "guide" / "audit.md").read_text(encoding="utf-8"), re.M)
    limits = {figure for one in check.measures for figure in (f"{one.limit:g}", f"{one.limit:.0%}".replace("%", " %"))}
    assert "the same" in row or any(figure in row for figure in limits), limits
