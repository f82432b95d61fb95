"""Pictures show what they are of, are written whole, and say what to install where they cannot."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from trainlib.report import plots
from trainlib.tools.loss_curve import LRFinderResult

RATES = np.geomspace(1e-6, 1.0, 7)
SMOOTHED = np.array([3.0, 3.1, 2.5, 1.5, 1.0, 2.0, 4.0])
LOSSES = np.array([3.0, 3.2, 2.0, 1.1, 0.9, 900.0, 1e12])
RESULT = LRFinderResult(RATES, LOSSES, SMOOTHED, 1e-4, 1e-3, 2e-4, "diverged")


def test_the_curve_is_drawn_over_a_logarithmic_axis_with_its_rates_marked():
    pytest.importorskip("matplotlib")
    figure = plots.lr_find(RESULT, "adam on digits")
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == (
        "log",
        "learning rate",
        "loss",
    )
    assert axes.get_title() == "adam on digits"
    lines = {line.get_label(): line for line in axes.get_lines()}
    np.testing.assert_array_equal(lines["each batch"].get_xydata(), np.c_[RATES, LOSSES])
    np.testing.assert_array_equal(lines["smoothed"].get_xydata(), np.c_[RATES, SMOOTHED])
    assert lines["each batch"].get_alpha() < lines["smoothed"].get_linewidth()
    marks = {"suggestion: 0.0002": 2e-4, "steepest: 0.0001": 1e-4, "tenth of minimum: 0.001": 1e-3}
    for label, rate in marks.items():
        assert list(lines[label].get_xdata()) == [rate, rate]
    assert {text.get_text() for text in axes.get_legend().get_texts()} == set(lines)


@pytest.mark.parametrize("last", [4.0, np.nan, np.inf])
def test_the_smoothed_curve_fills_the_picture_whatever_single_batches_do(last):
    pytest.importorskip("matplotlib")
    smoothed = np.append(SMOOTHED[:-1], last)
    (axes,) = plots.lr_find(RESULT._replace(smoothed=smoothed)).axes
    low, high = axes.get_ylim()
    assert 0 < low < 1.0
    assert np.max(smoothed[np.isfinite(smoothed)]) < high < 6


def test_a_picture_is_a_png_and_nothing_else_is_left(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "curve.png"
    path.write_text("an older one")
    plots.save(plots.lr_find(RESULT), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_no_window_system_is_asked_for():
    pytest.importorskip("matplotlib")
    had = "matplotlib.pyplot" in sys.modules
    plots.lr_find(RESULT)
    assert ("matplotlib.pyplot" in sys.modules) == had


def test_without_matplotlib_the_error_says_what_to_install(without_matplotlib):
    with pytest.raises(ImportError, match=r"^pictures need matplotlib: pip install trainlib\[pl"):
        plots.lr_find(RESULT)


@pytest.fixture
def without_matplotlib(monkeypatch):
    """As where matplotlib is not installed."""

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "matplotlib":
                raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
