"""Evaluates many answers to each prompt: what the best of N is worth, and how far they are from each other.

Guarantees: a sample without a score or a truth is left out of both and counted; a size beyond a prompt's samples has no
value for this prompt.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from trainer_client.agreement.statistics import Floats
from trainer_client.evaluation.answers import Answers
from trainer_client.evaluation.best_of_n import SIZES, expected_selected
from trainer_client.evaluation.diversity import embedding_distance, self_bleu_diversity
from trainer_client.evaluation.kinds.rubrics import Place, by_prompt
from trainer_client.evaluation.outcome import Curves, Evaluation, Measure
from trainer_client.evaluation.seeds import over_seeds

Scores = Mapping[Place, Sequence[float | None]]
"""Of each prompt and seed the score of each sample."""

_BY_JUDGE = "the judge's choice, by its own word"
_IN_TRUTH = "the judge's choice, in truth"
_ORACLE = "an oracle's choice, in truth"


def on_best_of_n(policy: str, scores: Scores, truth: Scores | None) -> Evaluation:
    """`truth` are of the same samples, where they are known."""
    lines: dict[str, dict[Place, list[float | None]]] = {_BY_JUDGE: {}}
    if truth is not None:
        lines |= {_IN_TRUTH: {}, _ORACLE: {}}
    missing = 0
    for place, some in scores.items():
        true = [0.0] * len(some) if truth is None else truth[place]
        both = [(one, other) for one, other in zip(some, true, strict=True) if one is not None and other is not None]
        missing += len(some) - len(both)
        judged, known = [one for one, _ in both], [other for _, other in both]
        lines[_BY_JUDGE][place] = expected_selected(judged, judged)
        if truth is not None:
            lines[_IN_TRUTH][place] = expected_selected(judged, known)
            lines[_ORACLE][place] = expected_selected(known, known)
    sizes = [size for n, size in enumerate(SIZES) if any(one[n] is not None for one in lines[_BY_JUDGE].values())]
    samples = max((len(some) for some in scores.values()), default=0)
    curves = {name: [_point(values, n) for n in range(len(sizes))] for name, values in lines.items()}
    return Evaluation(
        "best-of-n",
        policy,
        tuple(_measures(lines, sizes)),
        curves=(
            Curves(
                "The best of N",
                "The expected score of the best of N answers, over all draws of N among the samples of each prompt; "
                "the mean over prompts with its 95 % interval.",
                "N",
                sizes,
                curves,
            ),
        )
        if sizes
        else (),
        notes=tuple(_notes(missing, samples, lines, sizes)),
        details={
            "sizes": sizes,
            "curves": {name: [list(p) if p else None for p in line] for name, line in curves.items()},
        },
        missing=missing,
    )


def _measures(lines: Mapping[str, Mapping[Place, Sequence[float | None]]], sizes: Sequence[int]) -> Iterator[Measure]:
    short = {_BY_JUDGE: "judged", _IN_TRUTH: "true", _ORACLE: "oracle"}
    for name, values in lines.items():
        for n in dict.fromkeys((0, len(sizes) - 1)) if sizes else ():
            own = by_prompt({place: some[n] for place, some in values.items()})
            about = "one answer" if sizes[n] == 1 else f"the best of {sizes[n]:,}"
            yield Measure(f"{short[name]}_best_of_{sizes[n]}", f"{about}: {name}", own)


def _point(values: Mapping[Place, Sequence[float | None]], n: int) -> tuple[float, float | None, float | None] | None:
    found = over_seeds(by_prompt({place: some[n] for place, some in values.items()}))
    return None if found.mean is None else (found.mean, found.interval.low, found.interval.high)


def _notes(
    missing: int, samples: int, lines: Mapping[str, Mapping[Place, Sequence[float | None]]], sizes: Sequence[int]
) -> Iterator[str]:
    yield f"Up to {samples:,} samples of each prompt. There is no value for more answers than there are samples."
    last = [one[len(sizes) - 1] for one in lines[_BY_JUDGE].values()] if sizes else []
    if fewer := sum(one is None for one in last):
        yield f"{fewer:,} of {len(last):,} prompts have fewer samples with a score and are not in the last points."
    if _IN_TRUTH in lines:
        yield (
            "Where the judge's choice rises by its own word and not in truth, more samples find what the judge is "
            "wrong about."
        )
    if missing:
        yield f"{missing:,} samples have no score or no truth and are left out."


def on_diversity(policy: str, answers: Answers, *, tokenize: str, vectors: Mapping[Place, Floats] | None) -> Evaluation:
    """`vectors` are the embeddings of the samples (N, D), where a model made them. Empty answers count as they are."""
    bleu = {place: self_bleu_diversity([one.text for one in some], tokenize) for place, some in answers.items()}
    measures = [Measure("one_minus_self_bleu", "1 \N{MINUS SIGN} self-BLEU", by_prompt(bleu))]
    if vectors is not None:
        far = {place: embedding_distance(own) for place, own in vectors.items()}
        measures.append(Measure("embedding_distance", "mean cosine distance of embeddings", by_prompt(far)))
    lengths = {place: float(np.mean([len(one.text.split()) for one in some])) for place, some in answers.items()}
    measures.append(Measure("words", "words of an answer", by_prompt(lengths)))
    equal = {place: 1 - len({one.text for one in some}) / len(some) for place, some in answers.items()}
    measures.append(
        Measure("repeated", "answers that repeat another one of their prompt", by_prompt(equal), shares=True)
    )
    samples = sorted({len(some) for some in answers.values()})
    counted = " to ".join(f"{one:,}" for one in dict.fromkeys((samples[0], samples[-1]))) if samples else "no"
    return Evaluation(
        "diversity",
        policy,
        tuple(measures),
        notes=(
            f"{counted} answers to each prompt. Self-BLEU grows with their number: compare policies at the same one.",
            f"BLEU is sacrebleu's sentence BLEU with tokeniser {tokenize}; words of a language that is written without "
            "spaces need the tokeniser `zh` or `char`.",
        ),
        missing=sum(one is None for one in bleu.values()),
    )
