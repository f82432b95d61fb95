"""Errors are counted as NumPy counts them; the worst examples have the highest loss."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.predictions import classified, numbers

from trainlib.report import figures, predictions
from trainlib.report.predictions import Confusion, Predictions

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_a_confusion_matrix_has_counts_and_the_color_of_their_fraction_of_the_row(classes):
    found = classified(300, classes)
    counts = predictions.confusion_counts(found, classes)
    expected = np.zeros((classes, classes), int)
    np.add.at(expected, (found.true, found.predicted), 1)
    np.testing.assert_array_equal(counts, expected)
    fractions = expected / np.maximum(expected.sum(1, keepdims=True), 1)
    names = [str(k) for k in range(classes)]
    figure = predictions.confusion_matrix_figure(counts, names)
    axes = figure.axes[0]
    (image,) = axes.get_images()
    np.testing.assert_allclose(image.get_array(), 100 * fractions)
    written = {t.get_position(): t.get_text() for t in axes.texts}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    if classes > predictions.MOST_WRITTEN:
        assert written == {} and len(figure.axes) == 2  # the color bar
        return
    cells = zip(*np.nonzero(expected), strict=True)
    assert written == {(j, i): str(expected[i, j]) for i, j in cells}
    assert [t.get_text() for t in axes.get_yticklabels()] == names


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_numbers_of_a_confusion_matrix_can_be_read_on_its_darkest_cell(scheme):
    def channels(text):
        return np.array([int(text[k : k + 2], 16) for k in (1, 3, 5)]) / 255

    def luminance(color):
        linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    paper, ink = (channels(getattr(figures.THEME[x], scheme)) for x in ("paper", "ink"))
    opacity = predictions.DARKEST
    cell = opacity * np.array(predictions.BLUE) + (1 - opacity) * paper
    low, high = sorted([luminance(cell), luminance(ink)])
    assert (high + 0.05) / (low + 0.05) > 4.5


def test_a_class_without_examples_has_fractions_of_0():
    counts = np.array([[0, 0], [1, 3]])
    np.testing.assert_array_equal(predictions.row_fractions(counts), [[0, 0], [0.25, 0.75]])
    predictions.confusion_matrix_figure(counts, ["a", "b"])


def test_class_names_are_shown_verbatim_and_long_ones_are_cut():
    names = ["$x^", "T-shirt/top", "a name that is much too long"]
    figure = predictions.confusion_matrix_figure(np.eye(3, dtype=int), names)
    shown = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert shown == ["$x^", "T-shirt/top", "a name that is …"]
    assert "$x^" in figures.as_svg(figure, "m", "m")


def test_letters_that_the_font_lacks_raise_no_warnings(recwarn, tmp_path):
    figure = predictions.confusion_matrix_figure(np.eye(2, dtype=int), ["猫", "犬"])
    assert "猫" in figures.as_svg(figure, "m", "m")
    figures.save_png(figure, tmp_path / "m.png")
    assert not recwarn.list


def test_the_most_frequent_confusions_come_first():
    counts = np.array([[5, 1, 0], [3, 1, 0], [0, 0, 9]])
    expected = [Confusion(1, 0, 3, 0.75), Confusion(0, 1, 1, 1 / 6)]
    assert predictions.most_frequent_confusions(counts, 10) == expected
    assert predictions.most_frequent_confusions(counts, 1) == expected[:1]


def test_the_worst_examples_have_the_highest_losses():
    found = classified(200, 4)
    places = predictions.worst_indices(found, 7)
    rest = np.delete(found.losses, places)
    assert len(set(places)) == 7
    assert found.losses[places].min() >= rest.max()
    assert list(found.losses[places]) == sorted(found.losses[places], reverse=True)


def test_a_loss_of_nan_is_the_worst():
    losses = np.array([1.0, np.inf, np.nan, 5.0])
    found = Predictions(np.zeros(4), np.zeros(4), None, losses)
    assert list(predictions.worst_indices(found, 3)) == [2, 1, 3]


@pytest.mark.parametrize("count", [1, 20, 3000])
def test_residuals_are_true_minus_predicted(count):
    found = numbers(count)
    errors = found.true - found.predicted
    figure = predictions.residual_figure(found)
    (points,) = figure.axes[0].collections
    np.testing.assert_allclose(points.get_offsets(), np.c_[found.predicted, errors])
    histogram = predictions.residual_histogram(found)
    (outline,) = histogram.axes[0].patches
    assert outline.get_xy()[:, 0].min() == pytest.approx(errors.min(), abs=0.51)
    (label,) = histogram.legends[0].get_texts()
    assert label.get_text() == f"mean {errors.mean():.3g} (standard deviation {errors.std():.3g})"
    for name, drawn in (("r", figure), ("h", histogram)):
        assert "<svg" in figures.as_svg(drawn, name, name)


def test_residuals_that_are_not_finite_leave_the_axes_empty():
    nan = np.full(3, np.nan)
    found = Predictions(np.ones(3), nan, None, nan)
    residuals = predictions.residual_figure(found)
    assert residuals.axes[0].collections[0].get_offsets().mask.all()
    histogram = predictions.residual_histogram(found)
    assert not histogram.axes[0].patches and not histogram.axes[0].lines
    for name, drawn in (("r", residuals), ("h", histogram)):
        assert "<svg" in figures.as_svg(drawn, name, name)


@pytest.mark.parametrize("size", [0, 1, 1e9, 1e17, -3e38])
def test_residuals_that_are_equal_have_one_bar(size):
    found = Predictions(np.ones(40, "float32"), np.full(40, size, "float32"), None, np.zeros(40))
    histogram = predictions.residual_histogram(found)
    (outline,) = histogram.axes[0].patches
    assert outline.get_xy()[:, 1].max() == 40
    for name, drawn in (("r", predictions.residual_figure(found)), ("h", histogram)):
        assert "<svg" in figures.as_svg(drawn, name, name)


def test_residuals_that_are_not_finite_are_left_out_of_the_histogram():
    found = Predictions(np.ones(4), np.array([0.0, np.inf, 3.0, np.nan]), None, np.zeros(4))
    histogram = predictions.residual_histogram(found)
    (label,) = histogram.legends[0].get_texts()
    assert label.get_text() == "mean -0.5 (standard deviation 1.5)"
