"""Hinge losses."""

from __future__ import annotations

import numpy as np
import pytest

import trainlib.losses as losses


@pytest.mark.parametrize("name", ["hinge", "squared_hinge"])
def test_label_0_counts_as_minus_1_for_any_other_labels(name):
    y, p = np.array([[0.0, 1.0, -1.0, 0.0]]), np.array([[0.5, 0.5, 0.5, -3.0]])
    sides = np.maximum(1 - np.array([[-1, 1, -1, -1]]) * p, 0) ** (2 if "squared" in name else 1)
    np.testing.assert_allclose(getattr(losses, name)(y, p), sides.mean(-1), rtol=1e-15)


@pytest.mark.parametrize("name", ["hinge", "squared_hinge"])
def test_the_loss_is_0_at_the_margin_and_beyond(name):
    y, p = np.array([[1.0], [1.0], [-1.0]]), np.array([[1.0], [7.0], [-1.0]])
    np.testing.assert_array_equal(getattr(losses, name)(y, p), [0, 0, 0])


def test_categorical_hinge_compares_the_true_score_with_the_largest_other():
    y, p = np.eye(3), np.array([[2.0, 0.5, 0.0], [3.0, 1.0, 0.0], [-4.0, -2.0, -1.0]])
    # In the last row 0, of the true class itself, is larger than the scores of the others.
    np.testing.assert_array_equal(losses.categorical_hinge(y, p), [0.0, 3.0, 2.0])
