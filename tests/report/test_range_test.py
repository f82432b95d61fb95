"""The curve of a range test: its figure, its table, and the curve read back."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.modules import hide_package

from trainlib.report.range_test import range_test_figure, read_curve, write_range_test
from trainlib.tools.loss_curve import LRFinderResult

RATES = np.geomspace(1e-6, 1.0, 7)
SMOOTHED = np.array([3.0, 3.1, 2.5, 1.5, 1.0, 2.0, 4.0])
LOSSES = np.array([3.0, 3.2, 2.0, 1.1, 0.9, 900.0, 1e12])
RESULT = LRFinderResult(
    rates=RATES,
    losses=LOSSES,
    smoothed=SMOOTHED,
    steepest=1e-4,
    tenth_of_minimum=1e-3,
    suggestion=2e-4,
    stopped="diverged",
)


def test_the_curve_is_drawn_over_a_logarithmic_axis_with_its_rates_marked():
    pytest.importorskip("matplotlib")
    figure = range_test_figure(RESULT, "adam on digits")
    (axes,) = figure.axes
    labels = (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel(), axes.get_title())
    assert labels == ("log", "learning rate", "loss", "adam on digits")
    lines = {line.get_label(): line for line in axes.get_lines()}
    np.testing.assert_array_equal(lines["each batch"].get_xydata(), np.c_[RATES, LOSSES])
    np.testing.assert_array_equal(lines["smoothed"].get_xydata(), np.c_[RATES, SMOOTHED])
    assert lines["each batch"].get_alpha() < lines["smoothed"].get_linewidth()
    marks = {"suggestion: 0.0002": 2e-4, "steepest: 0.0001": 1e-4, "tenth of minimum: 0.001": 1e-3}
    for label, rate in marks.items():
        assert list(lines[label].get_xdata()) == [rate, rate]
    assert {text.get_text() for text in axes.figure.legends[0].get_texts()} == set(lines)


@pytest.mark.parametrize("last", [4.0, np.nan, np.inf])
def test_the_smoothed_curve_fills_the_figure_whatever_the_loss_of_one_batch(last):
    pytest.importorskip("matplotlib")
    smoothed = np.append(SMOOTHED[:-1], last)
    (axes,) = range_test_figure(RESULT._replace(smoothed=smoothed)).axes
    low, high = axes.get_ylim()
    assert 0 < low < 1.0
    assert np.max(smoothed[np.isfinite(smoothed)]) < high < 6


def test_a_written_curve_is_read_back_exactly(tmp_path):
    pytest.importorskip("matplotlib")
    write_range_test(tmp_path, RESULT, "title", print)
    curve = read_curve(tmp_path)
    np.testing.assert_array_equal(curve.rates, RATES)
    np.testing.assert_array_equal(curve.losses, LOSSES)
    np.testing.assert_array_equal(curve.smoothed, SMOOTHED)
    assert (tmp_path / "lr_find.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_only_the_picture_is_missing(tmp_path, monkeypatch):
    hide_package(monkeypatch, "matplotlib")
    lines = []
    write_range_test(tmp_path, RESULT, "title", lines.append)
    assert [path.name for path in tmp_path.iterdir()] == ["lr_find.csv"]
    assert lines == ["no lr_find.png: figures need matplotlib: pip install matplotlib"]


def test_a_folder_without_a_curve_has_none(tmp_path):
    assert read_curve(tmp_path) is None


def test_a_file_that_is_not_a_curve_is_refused(tmp_path):
    (tmp_path / "lr_find.csv").write_text("a\n1\n")
    with pytest.raises(ValueError, match="lr_find.csv: not the curve of a range test"):
        read_curve(tmp_path)
