"""Says in words what each figure is, for people, and in which order figures are shown."""

from collections.abc import Mapping

CRITERIA: Mapping[str, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "kappa": "Cohen's kappa",
    "alpha": "Krippendorff's alpha",
    "auroc": "AUROC of P(met)",
    "ece": "expected calibration error",
    "brier": "Brier score",
    "log_loss": "log loss, nats",
    "auroc_raw": "AUROC, before calibration",
    "ece_raw": "expected calibration error, before calibration",
    "brier_raw": "Brier score, before calibration",
    "log_loss_raw": "log loss, before calibration",
    "false_positive_rate": "called met, of what is not met",
    "false_negative_rate": "called not met, of what is met",
    "false_positive_rate_wanted": "called met, of what is not met, positive points: a gift",
    "false_negative_rate_wanted": "called not met, of what is met, positive points: a loss",
    "false_positive_rate_fault": "called met, of what is not met, negative points: a loss",
    "false_negative_rate_fault": "called not met, of what is met, negative points: a gift",
    "met": "share that the judge calls met",
    "met_label": "share whose label is met",
    "abstained": "abstained",
    "not_judged": "without a verdict, for whatever reason",
}
LEVELS: Mapping[str, str] = {
    "levels_exact": "the labelled level or choice",
    "levels_within_one": "levels: the labelled one, or one beside it",
    "levels_kappa": "levels: Cohen's kappa, quadratic weights",
    "levels_log_loss": "log loss of the labelled level or choice, nats",
    "levels_not_judged": "levels and choices without a verdict",
}
REWARDS: Mapping[str, str] = {
    "pairwise": "pairs of one prompt in the right order",
    "advantage_sign": "GRPO advantages with the right sign",
    "pearson_within": "correlation of advantages, Pearson",
    "spearman_within": "correlation of advantages, Spearman",
    "pearson": "correlation over all prompts, Pearson",
    "spearman": "correlation over all prompts, Spearman",
    "pairwise_soft": "with P(met): pairs in the right order",
    "advantage_sign_soft": "with P(met): advantages with the right sign",
    "pearson_within_soft": "with P(met): correlation of advantages, Pearson",
    "spearman_within_soft": "with P(met): correlation of advantages, Spearman",
    "pearson_soft": "with P(met): correlation over all prompts, Pearson",
    "spearman_soft": "with P(met): correlation over all prompts, Spearman",
}
COMPARISON: Mapping[str, str] = {
    "same": "the same verdict",
    "kappa": "Cohen's kappa between them",
    "alpha": "Krippendorff's alpha between them",
    "pearson_p": "Pearson's correlation of P(met)",
    "accuracy_more": "accuracy, the first less the second",
    "balanced_accuracy_more": "balanced accuracy, the first less the second",
    "auroc_more": "AUROC, the first less the second",
    "log_loss_more": "log loss, the first less the second",
}
SLICE = ("accuracy", "auroc", "ece", "false_positive_rate", "false_negative_rate")
