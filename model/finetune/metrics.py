"""Measures of classes and scores, as GLUE has them.

Source: Wang et al. 2019; Gorodkin 2004 for Matthews' coefficient of more than two classes.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def class_measures(
    labels: Sequence[str], predicted: Sequence[str], classes: Sequence[str]
) -> dict[str, float]:
    """Accuracy, macro F1 and Matthews' correlation; of two classes also the F1 of the second.

    F1 is 0 of a class that is neither there nor predicted; Matthews' coefficient is 0 where all labels or
    all predictions are one class.
    """
    number = {name: place for place, name in enumerate(classes)}
    table = np.zeros((len(classes), len(classes)))  # a row a label, a column a prediction
    for label, guess in zip(labels, predicted, strict=True):
        table[number[label], number[guess]] += 1
    hits, truths, guesses = table.diagonal(), table.sum(1), table.sum(0)
    f1 = 2 * hits / np.maximum(truths + guesses, 1)
    total, found = table.sum(), hits.sum()
    covariance = found * total - truths @ guesses
    spread = (total**2 - truths @ truths) * (total**2 - guesses @ guesses)
    measures = {
        "accuracy": float(found / total),
        "macro_f1": float(f1.mean()),
        "matthews": float(covariance / np.sqrt(spread)) if spread else 0.0,
    }
    return {**measures, "f1": float(f1[1])} if len(classes) == 2 else measures


def score_measures(scores: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """Pearson's and Spearman's correlation; 0 where either side is constant."""
    if len(set(scores)) < 2 or len(set(predicted)) < 2:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": float(stats.pearsonr(scores, predicted).statistic),
        "spearman": float(stats.spearmanr(scores, predicted).statistic),
    }
