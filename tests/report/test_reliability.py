"""The reliability diagram shows the accuracy of each bin and the calibration error."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.report.predictions import Predictions

pytest.importorskip("matplotlib")

from trainlib.report.reliability import reliability_figure  # noqa: E402

SCORES = np.array([[0.95, 0.05], [0.95, 0.05], [0.45, 0.55], [0.05, 0.95]])
TRUE = np.array([0, 1, 1, 1])


def test_bars_are_accuracies_and_the_title_has_the_error():
    predictions = Predictions(TRUE, SCORES.argmax(1), SCORES, np.zeros(4))
    axes = reliability_figure(predictions).axes[0]
    bars = {round(bar.get_x(), 4): bar.get_height() for bar in axes.containers[0]}
    assert bars == {round(8 / 15, 4): 1.0, round(14 / 15, 4): pytest.approx(2 / 3)}
    expected = (1 * 0.45 + 3 * abs(0.95 - 2 / 3)) / 4
    assert axes.get_title() == f"reliability (calibration error {expected:.4f})"
