"""The reliability diagram: how often predictions of each confidence are correct."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainlib.metrics import CalibrationState, expected_calibration_error
from trainlib.report import figures
from trainlib.report.predictions import Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_BINS = 15
"""Number of bins of the confidence, as in the calibration error."""


def reliability_figure(predictions: Predictions) -> Figure:
    """Return a figure of the accuracy by confidence, with the share of the examples in each bin.

    The gap to the diagonal is the calibration error of a bin; the expected calibration error, in
    the title, is its mean over the examples.

    Args:
        predictions: predictions of classes, whose scores are probabilities.
    """
    metric = expected_calibration_error(NUM_BINS)
    assert predictions.scores is not None
    state = metric.from_model_output(predictions.true, predictions.scores)
    title = f"reliability (calibration error {float(metric.compute(state)):.4f})"
    figure, axes = figures.new_figure(title, "confidence", "accuracy", figures.SQUARE)
    _draw_bins(axes, state)
    axes.plot([0, 1], [0, 1], color=figures.INK, linewidth=1, linestyle="--", label="calibrated")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    figures.add_legend(axes)
    return figure


def _draw_bins(axes: Any, state: CalibrationState) -> None:
    """Draw the accuracy, its mean confidence and the share of the examples of each bin."""
    weight, confidence, correct = (np.asarray(x) for x in state)
    used = weight > 0
    edges = np.linspace(0, 1, NUM_BINS + 1)
    width = 1 / NUM_BINS
    accuracy = correct[used] / weight[used]
    look = {"width": width, "align": "edge", "linewidth": 0}
    axes.bar(edges[:-1][used], accuracy, color=figures.TRAIN, alpha=0.55, label="accuracy", **look)
    mean = confidence[used] / weight[used]
    axes.plot(mean, accuracy, "o", color=figures.TRAIN, markersize=4, clip_on=False)
    share = weight / weight.sum()
    axes.stairs(share, edges, color=figures.VALIDATION, label="share of the examples")
