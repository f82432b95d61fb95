"""The best rate under a bound on another one, found among all thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.metrics import CLASSES, SCORES, value

import trainlib as tl

SIZE = 200
RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, SIZE)
P = np.clip(RNG.normal(0.4 + 0.2 * Y, 0.25), 0, 1)
W = RNG.choice([0, 0.5, 2], SIZE)
PAIRS = {
    "precision_at_recall": ("recall", "precision"),
    "recall_at_precision": ("precision", "recall"),
    "sensitivity_at_specificity": ("specificity", "recall"),
    "specificity_at_sensitivity": ("recall", "specificity"),
}


def rates(y, p, w, threshold):
    """Precision, recall and specificity at a threshold; 0 where there is nothing to divide by."""
    above = p > threshold
    tp, fp = np.sum(w * (above & (y == 1))), np.sum(w * (above & (y == 0)))
    fn, tn = np.sum(w * (~above & (y == 1))), np.sum(w * (~above & (y == 0)))
    pairs = {"precision": (tp, fp), "recall": (tp, fn), "specificity": (tn, fp)}
    return {name: a / (a + b) if a + b else 0.0 for name, (a, b) in pairs.items()}


def best(name, bound, y, p, w, thresholds):
    bounded, rate = PAIRS[name]
    found = [rates(y, p, w, t) for t in thresholds]
    return max([x[rate] for x in found if x[bounded] >= bound], default=0.0)


@pytest.mark.parametrize("bound", [0.0, 0.4, 0.9, 1.0])
@pytest.mark.parametrize("name", PAIRS)
def test_the_best_rate_is_the_largest_at_a_threshold_that_keeps_the_bound(name, bound):
    for count in (2, 30):
        metric = getattr(tl.metrics, name)(bound, num_thresholds=count)
        expected = best(name, bound, Y, P, W, np.linspace(0, 1, count))
        assert value(metric, Y, P, W) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_one_threshold_is_one_half_and_class_id_selects_a_column(name):
    make = getattr(tl.metrics, name)
    expected = best(name, 0.25, CLASSES == 1, SCORES[:, 1], np.ones(len(CLASSES)), [0.5])
    found = value(make(0.25, num_thresholds=1, class_id=1), CLASSES, SCORES)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_arguments_out_of_range_are_rejected(name):
    make = getattr(tl.metrics, name)
    for bound in (-0.1, 1.5):
        with pytest.raises(ValueError, match=r"must be .* (0|1), got"):
            make(bound)
    with pytest.raises(ValueError, match="^num_thresholds must be at least 1"):
        make(0.5, num_thresholds=0)
