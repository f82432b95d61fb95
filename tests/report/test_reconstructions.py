"""Reconstructions beside the originals."""

from __future__ import annotations

import re

import numpy as np
import pytest

from trainlib.report.reconstructions import (
    SHOWN,
    Reconstructions,
    error_histogram,
    typical_examples,
    worst_reconstructions,
)

pytest.importorskip("matplotlib")

ORIGINALS = np.linspace(0, 1, 40 * 4).reshape(40, 2, 2)
ERRORS = np.zeros(40)
ERRORS[[3, 7, 30]] = [0.5, np.nan, 0.9]
FOUND = Reconstructions(ORIGINALS, ORIGINALS / 2, ERRORS)


def examples(html):
    """The examples of a sheet in their order."""
    return [int(k) for k in re.findall(r">example (\d+)<", html)]


def test_images_are_shown_beside_their_reconstructions():
    html = typical_examples(FOUND)
    for row in ("original", "reconstruction"):
        assert f">{row}</th>" in html and html.count(f', {row}"') == SHOWN
    assert examples(html)[0] == 0 and examples(html)[-1] == 39


def test_the_worst_come_first_and_one_that_is_not_finite_before_all():
    assert examples(worst_reconstructions(FOUND))[:3] == [7, 30, 3]


def test_columns_are_a_table_of_originals_and_reconstructions():
    rows = Reconstructions(
        np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros([2, 2]), np.array([0.1, 0.2])
    )
    html = worst_reconstructions(rows, ["age", "income"])
    assert html.index("3 → 0") < html.index("1 → 0") and "income" in html


def test_the_histogram_leaves_out_what_is_not_finite():
    (axes,) = error_histogram(FOUND).axes
    heights = axes.patches[0].get_path().vertices[:, 1]
    assert heights.max() == 37
    assert error_histogram(FOUND._replace(errors=np.full(3, np.nan))).axes
