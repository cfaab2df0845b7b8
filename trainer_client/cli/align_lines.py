"""Writes the results of a study of judges as lines of text: a row for each arm, a column for each judge.

Guarantees: a figure without a value is a dash.
"""

from collections.abc import Iterator

from trainer_client.agreement.shown import text
from trainer_client.alignment.figures import ArmResult
from trainer_client.alignment.study import Study

_WIDTH = 40


def lines(study: Study) -> Iterator[str]:
    facts = study.facts
    yield f"{facts['pairs']} pairs of {facts['prompts']} prompts; digest {facts['digest'][:16]}"
    for judge in study.judges:
        toy = " (a toy: believe none of it)" if judge.judge["toy"] else ""
        yield f"{judge.name}: {judge.judge['model']} {judge.judge['fingerprint']}{toy}"
    yield ""
    first = max((len(one.arm.name) for judge in study.judges for one in judge.arms), default=0)
    yield f"{'accuracy':{first}}  {'  '.join(f'{judge.name:{_WIDTH}}' for judge in study.judges)}".rstrip()
    for rows in zip(*(judge.arms for judge in study.judges), strict=True):
        yield f"{rows[0].arm.name:{first}}  {'  '.join(f'{_arm(one):{_WIDTH}}' for one in rows)}".rstrip()
    if study.differences:
        yield ""
        yield "difference of accuracies, in pairs"
        for one in study.differences:
            yield f"{one.among}: {one.one} less {one.other}  {text(one.more, width=6)}"
    yield ""
    for judge in study.judges:
        whole = list(judge.costs.values())
        seconds, tokens = sum(one.seconds for one in whole), sum(one.prompt_tokens for one in whole)
        money = [study.money(judge, one) for one in whole]
        cost = "" if None in money else f", cost {sum(one for one in money if one is not None):.4f}"
        judgements = sum(one.judgements for one in whole)
        yield f"{judge.name}: {judgements:,} judgements, {seconds:,.1f} s, {tokens:,} tokens{cost}"


def _arm(one: ArmResult) -> str:
    if one.why_not is not None:
        return "not served"
    missing = sum(one.not_judged.values())
    ties = f" {one.ties} ties" if one.ties else ""
    by_place = one.disagreeing is not None and (one.disagreeing.value or 0.0) > 0.5
    told = f"{ties}{f' {missing} not judged' if missing else ''}{' by the place' if by_place else ''}"
    return f"{text(one.accuracy, width=6)}{told}"
