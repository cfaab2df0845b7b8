"""The dashboard *Judge health* shows whether the verdicts can still be trusted as rewards."""

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
_DIFFERED, _WITHOUT = 'outcome="differed"', 'outcome="missing"'
_NO_VERDICT = 'outcome!~"met|unmet|rated"'
_SHADOW, _DIFFERS, _COMPARED = "rubricd_shadow_judgements_total", 'outcome="differs"', 'outcome=~"same|differs"'
_VERDICTS, _P = "rubricd_judgements_total", "rubricd_p_met"
_LOW_MASS = f"{rate('rubricd_label_mass_bucket', _UP_TO_90)} / {rate('rubricd_label_mass_count')}"
_UNCERTAIN = f"({rate(f'{_P}_bucket', _UP_TO_70)} - {rate(f'{_P}_bucket', _UP_TO_30)}) / {rate(f'{_P}_count')}"

_OVERVIEW: tuple[Panel, ...] = (
    Stat(
        "Judges",
        "Number of different fingerprints that serve under one name. More than one outside a rollout means that the "
        "replicas differ in weights, template or engine, and that a training job gets rewards from two judges.",
        (Query(f"max(count by (judge) (count by (judge, fingerprint) ({select('rubricd_judge_info')})))"),),
        steps=(2, 3),
        runbook=("RubricdJudgesDiffer",),
    ),
    Stat(
        "Canary drift",
        "Largest change of P(met) on the canary queries since the start of a replica. If it is larger than a rounding "
        "error, the judge has changed under the same fingerprint: do not train on it.",
        (Query(f"max({select('rubricd_canary_drift')})"),),
        decimals=3,
        steps=(0.01, 0.05),
        runbook=("RubricdCanaryDrift",),
    ),
    Stat(
        "No verdict",
        "Fraction of criteria that were not judged. They are reported as such and never as not met; the panels below "
        "show why.",
        (Query(ratio(rate(_VERDICTS, _NO_VERDICT), rate(_VERDICTS))),),
        unit="percentunit",
        decimals=1,
        steps=(0.01, 0.1),
        runbook=("RubricdJudgementsFailing",),
    ),
    Stat(
        "Failed responses",
        "Fraction of responses without a single judged criterion. A trainer gets no reward for them.",
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
        "Fraction of the judge's verdicts with P(met) between 0.3 and 0.7. If it rises, the judge cannot decide these "
        "criteria; `escalate_band` has them judged again with reasoning.",
        (Query(_UNCERTAIN),),
        unit="percentunit",
        decimals=0,
    ),
    Stat(
        "Zero-variance groups",
        "Fraction of GRPO groups in which all scores are equal, so that nothing is learned from them. If it rises with "
        "every criterion met, the data has become too easy; with none met, it is too hard.",
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
        "Fraction of verdicts that are `met`, by mode, from any source. A jump without a new data set or policy comes "
        "from the judge; slow growth is the effect of training.",
        (Query(f"{rate(_VERDICTS, _MET, by='mode')} / {rate(_VERDICTS, _DECIDED, by='mode')}", "{{mode}}"),),
        unit="percentunit",
        max=1,
    ),
    Heat(
        "P(met)",
        "Distribution of P(met) over the judge's verdicts. A good judge is dark at both ends; one that is dark in the "
        "middle guesses.",
        (Query(increase(f"{_P}_bucket", 'le!="+Inf"', by="le"), "{{le}}"),),
        unit="short",
    ),
    Lines(
        "Levels",
        "Criteria per second with a level or an extracted value. Torn are those of which two levels are likely and "
        "one between them is not: many of them mean that the texts of the levels do not tell responses apart, or that "
        "the judge goes by the letter.",
        (Query(rate("rubricd_graded_total", by="outcome"), "{{outcome}}"),),
        unit="cps",
    ),
    Lines(
        "Uncertainty",
        "Fractions of the judge's verdicts: with P(met) between 0.3 and 0.7, and with a label mass below 0.9, where "
        "the judge put probability on other tokens than its labels. Ties, with P(met) at the threshold, count as met; "
        "more than a few mean that the judge's logits are rounded: see fact `head_dtype`. Disagreement is how far "
        "apart P(met) is, on average, where a criterion is also asked whether it is false: near 0.5 the judge does not "
        "read. The order effect is how far apart P(a is better) is in the two orders of a pair: near 1 the judge goes "
        "by the place alone.",
        (
            Query(_UNCERTAIN, "P(met) 0.3 to 0.7"),
            Query(_LOW_MASS, "label mass below 0.9"),
            Query(f"{rate('rubricd_threshold_ties_total')} / {rate(f'{_P}_count')}", "tie with the threshold"),
            Query(
                f"{rate('rubricd_disagreement_sum')} / {rate('rubricd_disagreement_count')}",
                "disagreement of two askings",
            ),
            Query(f"{rate('rubricd_order_effect_sum')} / {rate('rubricd_order_effect_count')}", "order effect"),
        ),
        unit="percentunit",
    ),
    Lines(
        "Shadow",
        "Fractions: of the criteria that a judge and its shadow both decided, those on which they differ, and the mean "
        "difference of P(met). On the right, responses per second that the shadow was not asked about, by reason: its "
        "queue was full, or it was down. No score depends on any of it.",
        (
            Query(
                f"{rate(_SHADOW, _DIFFERS, by='shadow')} / {rate(_SHADOW, _COMPARED, by='shadow')}",
                "{{shadow}} differs",
            ),
            Query(
                f"{rate('rubricd_shadow_difference_sum', by='shadow')} / "
                f"{rate('rubricd_shadow_difference_count', by='shadow')}",
                "{{shadow}}, difference of P(met)",
            ),
            Query(rate("rubricd_shadow_dropped_total", by="reason"), "dropped, {{reason}}", right="cps"),
        ),
        unit="percentunit",
        runbook=("RubricdShadowDiffers",),
    ),
)

_SEVERAL: tuple[Panel, ...] = (
    Lines(
        "Disagreement of panels",
        "How far apart the P(met) of a panel's members are, on average. If it rises, its members have come to "
        "disagree: a policy may have found what one of them overlooks. Compare them on labelled rows.",
        (
            Query(
                f"{rate('rubricd_panel_disagreement_sum', by='judge')} / "
                f"{rate('rubricd_panel_disagreement_count', by='judge')}",
                "{{judge}}",
            ),
        ),
        unit="percentunit",
        max=1,
    ),
    Lines(
        "Members of panels",
        "For each member, the fractions of its panel's criteria in which it said another thing than the panel, and in "
        "which it was missing. A member that is missing makes the panel another judge, as its quorum allows.",
        (
            Query(
                f"{rate('rubricd_panel_members_total', _DIFFERED, by='judge, member')} / "
                f"{rate('rubricd_panel_members_total', by='judge, member')}",
                "{{judge}}: {{member}} differed",
            ),
            Query(
                f"{rate('rubricd_panel_members_total', _WITHOUT, by='judge, member')} / "
                f"{rate('rubricd_panel_members_total', by='judge, member')}",
                "{{judge}}: {{member}} missing",
            ),
        ),
        unit="percentunit",
        max=1,
    ),
    Lines(
        "Engines of several judges",
        "Whether each judge of a deployment that names its judges can judge (left, 1 or 0), the tokens that wait for "
        "its engine, and its throughput (right).",
        (
            Query(f"min by (judge) ({select('rubricd_judge_ready')})", "{{judge}}"),
            Query(f"sum by (judge) ({select('rubricd_judge_queued_tokens')})", "{{judge}}: tokens", right="short"),
            Query(
                f"sum by (judge) ({select('rubricd_judge_tokens_per_second')})", "{{judge}}: tokens/s", right="short"
            ),
        ),
        max=1,
        runbook=("RubricdJudgeUnavailable",),
    ),
)

_MISSING: tuple[Panel, ...] = (
    Lines(
        "Abstentions",
        "Fraction of criteria from which the judge abstained because it put too little probability on its labels, by "
        "mode. If it rises, the judge does not know this template or this sort of criterion.",
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
        "Reasons for no verdict",
        "`timeout`, `overloaded`: too little capacity. `too_long`: the data. `unparseable`, `engine_error`: the "
        "engine; see its log. `verifier_error`: the pattern or the reference answer of a rule.",
        (Query(rate(_VERDICTS, _NO_VERDICT, by="outcome"), "{{outcome}}"),),
        unit="cps",
        stacked="normal",
        runbook=("RubricdJudgementsFailing", "RubricdCriteriaUnjudgeable"),
    ),
    Lines(
        "Incomplete scores",
        "Fractions of responses that are `partial` or `failed`, and neutral rewards per second (right), which were not "
        "judged. Trainers learn from neutral rewards: raise the deadlines, or fix what fails.",
        (
            Query(f"{rate(_ITEMS, _PARTIAL)} / {rate(_ITEMS)}", "partial"),
            Query(f"{rate(_ITEMS, _FAILED)} / {rate(_ITEMS)}", "failed"),
            Query(rate("rubricd_neutral_rewards_total", by="route"), "neutral, {{route}}", right="cps"),
        ),
        unit="percentunit",
        runbook=("RubricdNeutralRewards",),
    ),
    Lines(
        "Reasoning",
        "Responses per second that held a policy's reasoning: `kept` was judged with the answer, `unfinished` and "
        "`no_answer` left nothing to judge.",
        (Query(rate("rubricd_reasoning_total", by="outcome"), "{{outcome}}"),),
        unit="cps",
    ),
)

_GROUPS: tuple[Panel, ...] = (
    Lines(
        "Groups by spread",
        "GRPO groups. The scores of `varied` groups differ; in `zero` groups they are all equal, and nothing is "
        "learned from them; `unjudged` groups have fewer than two scores.",
        (Query(rate("rubricd_groups_total", by="spread"), "{{spread}}"),),
        unit="cps",
        stacked="percent",
        width=12,
    ),
    Lines(
        "Criteria by spread",
        "Criteria that every member of a group meets, or none, are saturated: they no longer tell the members apart. "
        "Many `all_met`: use harder criteria; many `none_met`: easier ones, or a scaffold.",
        (Query(rate("rubricd_group_criteria_total", by="spread"), "{{spread}}"),),
        unit="cps",
        stacked="percent",
        width=12,
    ),
)

_SAME: tuple[Panel, ...] = (
    Lines(
        "Drift of each replica",
        "Largest change of P(met) on the canaries since the start (left), and failed canaries (right). If one replica "
        "drifts, look at its GPU or its files; if all do, at what they share.",
        (
            Query(select("rubricd_canary_drift"), "{{judge}} {{instance}}"),
            Query(increase("rubricd_canary_failures_total", by="code"), "failed, {{code}}", right="short"),
        ),
        soft_max=0.01,
        runbook=("RubricdCanaryDrift", "RubricdCanaryFailing"),
    ),
    Lines(
        "Labelled canaries",
        "How P(met) agrees with the labels of the canaries: the share that it says as well, its calibration error "
        "(ECE) and Brier score (left), its log loss and the change of that since the start (right). If it rises the "
        "judge has changed.",
        (
            Query(select("rubricd_labelled_canaries", 'figure!="log_loss"'), "{{figure}}, {{instance}}"),
            Query(select("rubricd_labelled_canaries", 'figure="log_loss"'), "log loss, {{instance}}", right="short"),
            Query(select("rubricd_canary_log_loss_change"), "change, {{instance}}", right="short"),
        ),
        max=1,
        runbook=("RubricdCalibrationDrift",),
    ),
    Lines(
        "Exam",
        "Share of the exam's pairs that the judge got right, by mode, layout and prompt. One half is chance; it is "
        "proven where the whole interval lies above two thirds. A mode is examined when it is first asked for.",
        (
            Query(
                f"min by (mode, layout, prompt) ({select('rubricd_exam_accuracy')})", "{{mode}} {{layout}} {{prompt}}"
            ),
            Query(f"sum by (mode) ({select('rubricd_judge_proven')})", "proven, {{mode}}", right="short"),
        ),
        unit="percentunit",
        max=1,
    ),
    Table(
        "Judges in service",
        "One row for each judge. The fingerprint covers weights, tokenizer, template, labels, engine and settings; a "
        "training job can require it with `expect_judge`.",
        (Query(f"count by (fingerprint, model, engine, judge) ({select('rubricd_judge_info')})", "Replicas"),),
        key="fingerprint",
        width=16,
    ),
)

BOARD = Board(
    "rubricd-judge",
    "rubricd: Judge health",
    "Whether the verdicts can be trusted as rewards: pass rate, abstentions, uncertainty, drift, saturation.",
    (
        Row("Overview", _OVERVIEW),
        Row("Verdicts", _VERDICT),
        Row("Several judges", _SEVERAL),
        Row("Missing verdicts", _MISSING),
        Row("Groups", _GROUPS),
        Row("Identity and drift", _SAME),
    ),
)
