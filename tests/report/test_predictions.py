"""Errors are counted as NumPy counts them, and the worst examples are those of the highest loss."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from trainlib.report import examples, plots, predictions
from trainlib.report.predictions import Mistaken, Predictions

pytest.importorskip("matplotlib")

RANDOM = np.random.default_rng(0)


def classified(count, classes):
    scores = RANDOM.dirichlet(np.ones(classes), count)
    true = RANDOM.integers(0, classes, count).astype(np.int32)
    losses = -np.log(scores[np.arange(count), true])
    return Predictions(true, scores.argmax(1), scores, losses)


def numbers(count):
    true = RANDOM.normal(size=count)
    predicted = true + RANDOM.normal(size=count)
    return Predictions(true, predicted, None, (true - predicted) ** 2)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_a_confusion_matrix_counts_and_shows_the_shares_of_its_rows(classes):
    found = classified(300, classes)
    counts = predictions.confusion(found, classes)
    expected = np.zeros((classes, classes), int)
    np.add.at(expected, (found.true, found.predicted), 1)
    np.testing.assert_array_equal(counts, expected)
    shares = expected / np.maximum(expected.sum(1, keepdims=True), 1)
    for normalized in (False, True):
        names = [str(k) for k in range(classes)]
        figure = predictions.confusion_matrix(counts, names, normalized)
        axes = figure.axes[0]
        (image,) = axes.get_images()
        np.testing.assert_allclose(image.get_array(), 100 * shares)
        written = {t.get_position(): t.get_text() for t in axes.texts}
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
        if classes > predictions.WRITTEN:
            assert written == {} and len(figure.axes) == 2  # the scale of colours
            continue
        assert set(written) == {(j, i) for i, j in zip(*np.nonzero(expected), strict=True)}
        for (j, i), text in written.items():
            if normalized:
                assert float(text) == pytest.approx(100 * shares[i, j], abs=0.51)
            else:
                assert text == str(expected[i, j])
        assert [t.get_text() for t in axes.get_yticklabels()] == names


def test_a_class_without_examples_has_no_shares():
    counts = np.array([[0, 0], [1, 3]])
    np.testing.assert_array_equal(predictions.shares(counts), [[0, 0], [0.25, 0.75]])
    predictions.confusion_matrix(counts, ["a", "b"], normalized=True)


def test_names_are_shown_as_they_are_and_long_ones_are_cut():
    names = ["$x^", "T-shirt/top", "a name that is much too long"]
    figure = predictions.confusion_matrix(np.eye(3, dtype=int), names, normalized=False)
    shown = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert shown == ["$x^", "T-shirt/top", "a name that is …"]
    assert "$x^" in plots.svg(figure, "m", "m")


def test_letters_that_the_font_lacks_are_no_warnings(recwarn, tmp_path):
    figure = predictions.confusion_matrix(np.eye(2, dtype=int), ["猫", "犬"], normalized=False)
    assert "猫" in plots.svg(figure, "m", "m")
    plots.save(figure, tmp_path / "m.png")
    assert not recwarn.list


def test_the_most_frequent_mistakes_come_first():
    counts = np.array([[5, 1, 0], [3, 1, 0], [0, 0, 9]])
    expected = [Mistaken(1, 0, 3, 0.75), Mistaken(0, 1, 1, 1 / 6)]
    assert predictions.most_mistaken(counts, 10) == expected
    assert predictions.most_mistaken(counts, 1) == expected[:1]


def test_the_worst_examples_have_the_highest_losses():
    found = classified(200, 4)
    places = predictions.worst(found, 7)
    rest = np.delete(found.losses, places)
    assert len(set(places)) == 7
    assert found.losses[places].min() >= rest.max()
    assert list(found.losses[places]) == sorted(found.losses[places], reverse=True)


def test_a_loss_that_is_nan_is_the_worst():
    losses = np.array([1.0, np.inf, np.nan, 5.0])
    found = Predictions(np.zeros(4), np.zeros(4), None, losses)
    assert list(predictions.worst(found, 3)) == [2, 1, 3]


@pytest.mark.parametrize("count", [1, 20, 3000])
def test_residuals_are_what_is_true_less_what_is_predicted(count):
    found = numbers(count)
    errors = found.true - found.predicted
    figure = predictions.residuals(found)
    (points,) = figure.axes[0].collections
    np.testing.assert_allclose(points.get_offsets(), np.c_[found.predicted, errors])
    histogram = predictions.residual_histogram(found)
    (outline,) = histogram.axes[0].patches
    assert outline.get_xy()[:, 0].min() == pytest.approx(errors.min(), abs=0.51)
    (label,) = histogram.legends[0].get_texts()
    assert label.get_text() == f"mean {errors.mean():.3g}; standard deviation {errors.std():.3g}"
    for name, drawn in (("r", figure), ("h", histogram)):
        assert "<svg" in plots.svg(drawn, name, name)


def test_predictions_that_are_not_finite_can_be_drawn():
    nothing = np.full(3, np.nan)
    found = Predictions(np.ones(3), nothing, None, nothing)
    plots.svg(predictions.residuals(found), "r", "r")
    plots.svg(predictions.residual_histogram(found), "h", "h")


@pytest.mark.parametrize(
    ("shape", "seen"),
    [((8, 8), True), ((8, 8, 1), True), ((8, 8, 3), True), ((8, 8, 2), False), ((5,), False)],
)
def test_images_are_told_by_their_shape(shape, seen):
    assert examples.is_image(shape) == seen


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3)])
@pytest.mark.parametrize("x_max", [16.0, 0.0])
def test_an_image_keeps_its_pixels(shape, x_max):
    from matplotlib.image import imread

    image = RANDOM.integers(0, 17, shape).astype(np.uint8)
    image.flat[:2] = 0, 16
    file = io.BytesIO(base64.b64decode(examples.encoded(image, x_max)))
    pixels = imread(file)
    assert pixels.shape == (8, 6, 4)
    expected = np.broadcast_to(image.reshape(8, 6, -1) / 16, (8, 6, 3))
    np.testing.assert_allclose(pixels[..., :3], expected, atol=0.01)


def test_large_and_constant_images_can_be_shown():
    from matplotlib.image import imread

    file = io.BytesIO(base64.b64decode(examples.encoded(np.ones((400, 300)), 0.0)))
    assert max(imread(file).shape) <= 1.5 * examples.LARGEST


def test_images_have_their_class_and_what_was_predicted_under_them():
    found = classified(30, 3)
    text = examples.worst_examples(found, np.zeros((30, 4, 4)), 1.0, ["<a>", "b", "c"], ())
    assert text.count("<img ") == examples.IMAGES
    place = predictions.worst(found, 1)[0]
    names = ["&lt;a&gt;", "b", "c"]
    assert f"example {place}<br>true: {names[found.true[place]]}<br>" in text
    assert f"predicted: {names[found.predicted[place]]}" in text
    assert f"confidence {found.scores[place].max():.3g}<br>loss {found.losses[place]:.3g}" in text


def test_tables_have_a_row_for_each_of_the_worst_examples():
    found, x = numbers(40), RANDOM.normal(size=(40, 2))
    text = examples.worst_examples(found, x, 0.0, (), ("<i>", "b"))
    assert text.count("<tr>") == 1 + examples.ROWS
    assert "<i>" not in text and "&lt;i&gt;" in text
    place = predictions.worst(found, 1)[0]
    cells = [found.true[place], found.predicted[place], found.true[place] - found.predicted[place]]
    row = "".join(f'<td class="number">{v:.4g}</td>' for v in [*cells, *x[place]])
    assert f'<td class="number">{place}</td>{row}' in text
