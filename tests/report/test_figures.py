"""Figures are written atomically, need no window, and name the package that they need."""

from __future__ import annotations

import sys

import pytest
from helpers.modules import hide_package

from trainlib.report import figures


def draw():
    """A figure with a line."""
    figure, axes = figures.new_figure("title", "x", "y")
    axes.plot([1, 2], [2, 1])
    return figure


def test_a_figure_is_written_as_png_in_place_of_an_older_file(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "curve.png"
    path.write_text("an older one")
    figures.save_png(draw(), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_no_window_system_is_used():
    pytest.importorskip("matplotlib")
    had = "matplotlib.pyplot" in sys.modules
    draw()
    assert ("matplotlib.pyplot" in sys.modules) == had


def test_titles_and_labels_are_shown_verbatim():
    pytest.importorskip("matplotlib")
    figure, axes = figures.new_figure("$x^", "$y^", "$z^")
    axes.plot([1, 2], [2, 1], label="$u^")
    figures.add_legend(axes)
    text = figures.as_svg(figure, "a", "a")
    for name in ("$x^", "$y^", "$z^", "$u^"):
        assert name in text


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    hide_package(monkeypatch, "matplotlib")
    with pytest.raises(ImportError) as error:
        draw()
    assert str(error.value) == "figures need matplotlib: pip install matplotlib"
