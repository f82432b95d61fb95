"""Figures over seeds: means and bands up to the last common epoch, dots, learning rates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trainlib.report import spread
from trainlib.tools.comparison import Contender, SeedRun

pytest.importorskip("matplotlib")


def history(*losses):
    """The history of a run with these losses on validation data."""
    return [{"epoch": k, "loss": 1.0, "val_loss": x} for k, x in enumerate(losses, 1)]


def test_a_spread_ends_at_the_last_epoch_of_all_runs():
    found = spread.spread_of([history(1.0, 2.0, 3.0), history(3.0, 6.0)], "val_loss")
    assert found.epochs.tolist() == [1, 2]
    assert found.mean.tolist() == [2.0, 4.0]
    assert found.low.tolist() == [1.0, 2.0] and found.high.tolist() == [3.0, 6.0]


def test_curves_have_a_line_and_a_band_for_each_contender_with_a_history():
    runs = (SeedRun(0, history(1.0, 2.0)), SeedRun(1, history(3.0, 6.0)))
    contenders = [Contender("a", runs), Contender("none", (SeedRun(0, failure="x"),))]
    axes = spread.spread_curves(contenders, "val_loss").axes[0]
    (line,), (band,) = axes.lines, axes.collections
    assert line.get_ydata().tolist() == [2.0, 4.0] and line.get_label() == "a"
    y = band.get_paths()[0].vertices[:, 1]
    assert (y.min(), y.max()) == (1.0, 6.0)


def test_each_seed_has_a_dot_and_the_mean_a_line():
    runs = tuple(SeedRun(k, validation={"loss": x}) for k, x in enumerate([1.0, 3.0, math.nan]))
    axes = spread.result_dots([Contender("a", runs)], "validation", "loss").axes[0]
    dots, mean = axes.lines
    assert dots.get_xdata().tolist() == [1.0, 3.0] and list(mean.get_xdata()) == [2.0, 2.0]


def test_the_best_learning_rate_has_a_ring_and_diverged_ones_a_gap():
    contender = Contender("a", (), {0.1: math.inf, 0.01: 2.0, 0.001: 3.0}, 0.01)
    axes = spread.tuning_curves([contender], "val_loss").axes[0]
    line, ring = axes.lines
    assert line.get_xdata().tolist() == [0.001, 0.01, 0.1]
    np.testing.assert_array_equal(line.get_ydata(), [3.0, 2.0, np.nan])
    assert (ring.get_xdata(), ring.get_ydata()) == ([0.01], [2.0])


def test_the_columns_are_those_on_validation_data_and_the_training_loss():
    found = [{"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}]
    contenders = [Contender("a", (SeedRun(0, found),))]
    assert spread.result_columns(contenders) == ["val_loss", "loss", "val_accuracy"]
