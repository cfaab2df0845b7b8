"""The dashboard *Judge health*: are its verdicts still worth something as rewards?"""

from deploy.grafana.board import Board, Row
from deploy.grafana.panels import Heat, Lines, Panel, Query, Stat, Table
from deploy.grafana.queries import increase, rate, ratio, select

_ITEMS, _PARTIAL, _FAILED, _ABSTAINED = (
    "rubricd_items_total",
    'status="partial"',
    'status="failed"',
    'outcome="abstained"',
)
_MET, _DECIDED = 'outcome="met"', 'outcome=~"met|unmet"'
_UP_TO_30, _UP_TO_70, _UP_TO_90 = 'le="0.3"', 'le="0.7"', 'le="0.9"'
_NO_VERDICT = 'outcome!~"met|unmet|rated"'
_VERDICTS, _P = "rubricd_judgements_total", "rubricd_p_met"
_LOW_MASS = f"{rate('rubricd_label_mass_bucket', _UP_TO_90)} / {rate('rubricd_label_mass_count')}"
_UNCERTAIN = f"({rate(f'{_P}_bucket', _UP_TO_70)} - {rate(f'{_P}_bucket', _UP_TO_30)}) / {rate(f'{_P}_count')}"

_OVERVIEW: tuple[Panel, ...] = (
    Stat(
        "Judges",
        "Different fingerprints that answer. More than one outside a rollout: replicas disagree about weights, "
        "template or engine, and a training job gets rewards from two judges.",
        (Query(f"count(count by (fingerprint) ({select('rubricd_judge_info')}))"),),
        steps=(2, 3),
        runbook=("RubricdJudgesDiffer",),
    ),
    Stat(
        "Canary drift",
        "Largest change of P(met) on the fixed canary questions since a replica's start. Above a rounding error "
        "something has changed under the judge: do not train on it.",
        (Query(f"max({select('rubricd_canary_drift')})"),),
        decimals=3,
        steps=(0.01, 0.05),
        runbook=("RubricdCanaryDrift",),
    ),
    Stat(
        "No verdict",
        "Share of criteria that were asked for and not judged. They are told as such and never as not met; below, why.",
        (Query(ratio(rate(_VERDICTS, _NO_VERDICT), rate(_VERDICTS))),),
        unit="percentunit",
        decimals=1,
        steps=(0.01, 0.1),
        runbook=("RubricdJudgementsFailing",),
    ),
    Stat(
        "Failed candidates",
        "Share of candidates without a single verdict that counts. A trainer has no reward for them.",
        (
            Query(
                ratio(
                    rate(_ITEMS, _FAILED),
                    rate(_ITEMS),
                )
            ),
        ),
        unit="percentunit",
        decimals=1,
        steps=(0.01, 0.05),
        runbook=("RubricdJudgementsFailing",),
    ),
    Stat(
        "Uncertain",
        "Share of the judge's verdicts with P(met) between 0.3 and 0.7. Rising: criteria that the judge cannot tell; "
        "`escalate_band` has them asked again.",
        (Query(_UNCERTAIN),),
        unit="percentunit",
        decimals=0,
    ),
    Stat(
        "Groups without a gradient",
        "Share of GRPO groups whose scores are all the same: nothing is learnt from them. Rising with every criterion "
        "met: the data has become too easy; with none: too hard.",
        (
            Query(
                ratio(
                    rate("rubricd_groups_total", 'spread="zero"'),
                    rate("rubricd_groups_total", 'spread=~"zero|varied"'),
                )
            ),
        ),
        unit="percentunit",
        decimals=0,
        steps=(0.5, 0.8),
        runbook=("RubricdZeroVariance",),
    ),
)

_VERDICT: tuple[Panel, ...] = (
    Lines(
        "Pass rate",
        "Share of verdicts that are `met`, by mode, from any source. A jump without a new data set or policy is the "
        "judge's; slow growth is what training is for.",
        (Query(f"{rate(_VERDICTS, _MET, by='mode')} / {rate(_VERDICTS, _DECIDED, by='mode')}", "{{mode}}"),),
        unit="percentunit",
        max=1,
    ),
    Heat(
        "P(met)",
        "How sure the judge is: verdicts by P(met). A good judge is dark at both ends. Dark in the middle: it guesses.",
        (Query(increase(f"{_P}_bucket", 'le!="+Inf"', by="le"), "{{le}}"),),
        unit="short",
    ),
    Lines(
        "Uncertainty",
        "Shares of the judge's verdicts: with P(met) between 0.3 and 0.7, and with a label mass below 0.9, where it "
        "wanted to say something else than a label.",
        (
            Query(_UNCERTAIN, "P(met) 0.3 to 0.7"),
            Query(_LOW_MASS, "label mass below 0.9"),
        ),
        unit="percentunit",
    ),
)

_MISSING: tuple[Panel, ...] = (
    Lines(
        "Abstentions",
        "Share of criteria of which the judge would rather say something else than a label, by mode. Rising: another "
        "template or another kind of criteria than it knows.",
        (
            Query(
                f"{rate(_VERDICTS, _ABSTAINED, by='mode')} / {rate(_VERDICTS, by='mode')}",
                "{{mode}}",
            ),
        ),
        unit="percentunit",
        runbook=("RubricdAbstentionsHigh",),
    ),
    Lines(
        "Why there is no verdict",
        "`timeout`, `overloaded`: too little judge. `too_long`: the data. `unparseable`, `engine_error`: the engine; "
        "see its log. `verifier_error`: a rule's own pattern or gold answer.",
        (Query(rate(_VERDICTS, _NO_VERDICT, by="outcome"), "{{outcome}}"),),
        unit="cps",
        stacked="normal",
        runbook=("RubricdJudgementsFailing", "RubricdCriteriaUnjudgeable"),
    ),
    Lines(
        "Candidates without a whole score",
        "Shares of candidates that are `partial` or `failed`; and rewards a second that trainers were told as the "
        "neutral value (right). Those train on nothing: raise deadlines, or fix what fails.",
        (
            Query(f"{rate(_ITEMS, _PARTIAL)} / {rate(_ITEMS)}", "partial"),
            Query(f"{rate(_ITEMS, _FAILED)} / {rate(_ITEMS)}", "failed"),
            Query(rate("rubricd_neutral_rewards_total", by="route"), "neutral, {{route}}", right="cps"),
        ),
        unit="percentunit",
        runbook=("RubricdNeutralRewards",),
    ),
)

_GROUPS: tuple[Panel, ...] = (
    Lines(
        "Groups by spread",
        "GRPO groups: `varied` teach; `zero` have one score for all and teach nothing; `unjudged` have fewer than two "
        "scores.",
        (Query(rate("rubricd_groups_total", by="spread"), "{{spread}}"),),
        unit="cps",
        stacked="percent",
        width=12,
    ),
    Lines(
        "Criteria of a group",
        "Criteria that every member meets, or none, tell the members apart no more: saturated. Much `all_met`: harder "
        "criteria; much `none_met`: easier ones, or a scaffold.",
        (Query(rate("rubricd_group_criteria_total", by="spread"), "{{spread}}"),),
        unit="cps",
        stacked="percent",
        width=12,
    ),
)

_SAME: tuple[Panel, ...] = (
    Lines(
        "Drift of each replica",
        "Largest change of P(met) on the canaries since the start (left), and canaries without an answer (right). One "
        "replica alone: its GPU or its files; all: whatever they share.",
        (
            Query(select("rubricd_canary_drift"), "{{instance}}"),
            Query(increase("rubricd_canary_failures_total", by="code"), "no answer, {{code}}", right="short"),
        ),
        soft_max=0.01,
        runbook=("RubricdCanaryDrift", "RubricdCanaryFailing"),
    ),
    Table(
        "Which judges answer",
        "A row a judge. The fingerprint is over weights, tokenizer, template, labels, engine and settings: what a "
        "training job names as `expect_judge`.",
        (Query(f"count by (fingerprint, model, engine) ({select('rubricd_judge_info')})", "Replicas"),),
        key="fingerprint",
        width=16,
    ),
)

BOARD = Board(
    "rubricd-judge",
    "rubricd: Judge health",
    "Whether the verdicts are worth something: pass rate, abstentions, uncertainty, drift, saturation.",
    (
        Row("Is it fine?", _OVERVIEW),
        Row("Verdicts", _VERDICT),
        Row("What was not judged", _MISSING),
        Row("Groups", _GROUPS),
        Row("Is it the same judge?", _SAME),
    ),
)
