"""Numbers of true and false positives and negatives agree with NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.metrics import CLASSES, ROWS, SCORES, WEIGHTS, value

import trainlib as tl

KINDS = {
    "true_positives": (True, True),
    "false_positives": (False, True),
    "true_negatives": (False, False),
    "false_negatives": (True, False),
}


@pytest.mark.parametrize("name", KINDS)
def test_counts_are_sums_of_weights_at_each_threshold(name):
    label, prediction = KINDS[name]
    make = getattr(tl.metrics, name)
    levels = [0.0, 0.25, 0.5]
    hits = [((ROWS == 1) == label) & ((SCORES > t) == prediction) for t in levels]
    expected = [np.sum(WEIGHTS[:, None] * hit) for hit in hits]
    np.testing.assert_allclose(value(make(levels), CLASSES, SCORES, WEIGHTS), expected)
    assert value(make(), ROWS, SCORES, WEIGHTS) == expected[-1]


def test_the_four_counts_add_up_to_the_weights():
    counts = [value(getattr(tl.metrics, name)(0.3), CLASSES, SCORES, WEIGHTS) for name in KINDS]
    assert sum(counts) == pytest.approx(WEIGHTS.sum() * SCORES.shape[1])


def test_a_threshold_out_of_range_is_rejected():
    with pytest.raises(ValueError, match="^thresholds must be at least 0 and at most 1, got 2"):
        tl.metrics.false_positives(2.0)
