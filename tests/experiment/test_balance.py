"""Weights of classes, and rarer classes repeated."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.experiment.balance import balanced_weights, oversampled, parse_class_weights

LABELS = np.repeat([0, 1, 3], [60, 30, 7])[np.random.default_rng(0).permutation(97)]


def test_balanced_weights_are_those_of_scikit_learn():
    weights = balanced_weights(LABELS)
    expected = {0: 97 / (3 * 60), 1: 97 / (3 * 30), 3: 97 / (3 * 7)}  # N / (K n)
    assert weights == pytest.approx(expected)
    totals = [weights[k] * (LABELS == k).sum() for k in weights]
    assert totals == pytest.approx([97 / 3] * 3)


def test_every_class_is_as_frequent_after_oversampling():
    chosen = oversampled(LABELS, 0)
    assert np.bincount(LABELS[chosen]).tolist() == [60, 60, 0, 60]
    assert set(chosen) == set(range(97))
    _, times = np.unique(chosen[LABELS[chosen] == 3], return_counts=True)
    assert set(times) == {8, 9}
    assert chosen.tolist() == sorted(chosen) == oversampled(LABELS, 0).tolist()
    assert chosen.tolist() != oversampled(LABELS, 1).tolist()


def test_weights_are_read_by_name_or_index():
    assert parse_class_weights("cat:2,dog:0.5", 2, ("cat", "dog"), "t") == {0: 2, 1: 0.5}
    assert parse_class_weights("1:3", 2, ("cat", "dog"), "t") == {1: 3}
    with pytest.raises(ValueError, match="t has no class 'fox'; its classes are cat, dog"):
        parse_class_weights("fox:2", 2, ("cat", "dog"), "t")
    with pytest.raises(ValueError, match="class_weight must be balanced or comma-separated"):
        parse_class_weights("cat=2", 2, ("cat", "dog"), "t")
