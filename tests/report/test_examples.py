"""The examples with the highest loss are shown as images or as rows of a table."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from helpers.predictions import classified, numbers

from trainlib.report import examples
from trainlib.report.examples import ExampleData
from trainlib.report.predictions import worst_indices

pytest.importorskip("matplotlib")

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 8), True), ((8, 8, 1), True), ((8, 8, 3), True), ((8, 8, 2), False), ((5,), False)],
)
def test_images_are_recognized_by_their_shape(shape, expected):
    assert examples.is_image(shape) == expected


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3)])
@pytest.mark.parametrize("x_max", [16.0, 0.0])
def test_pixels_are_encoded_unchanged(shape, x_max):
    from matplotlib.image import imread

    image = RANDOM.integers(0, 17, shape).astype(np.uint8)
    image.flat[:2] = 0, 16
    file = io.BytesIO(base64.b64decode(examples.encode_png(image, x_max)))
    pixels = imread(file)
    assert pixels.shape == (8, 6, 4)
    expected = np.broadcast_to(image.reshape(8, 6, -1) / 16, (8, 6, 3))
    np.testing.assert_allclose(pixels[..., :3], expected, atol=0.01)


def test_large_images_are_subsampled_and_constant_ones_can_be_encoded():
    from matplotlib.image import imread

    file = io.BytesIO(base64.b64decode(examples.encode_png(np.ones((400, 300)), 0.0)))
    assert max(imread(file).shape) <= 1.5 * examples.LARGEST_SIDE


def test_an_image_has_its_true_and_predicted_class_below_it():
    found = classified(30, 3)
    text = examples.worst_examples(found, ExampleData(np.zeros((30, 4, 4)), 1.0, ["<a>", "b", "c"]))
    assert text.count("<img ") == examples.IMAGES
    index = worst_indices(found, 1)[0]
    names = ["&lt;a&gt;", "b", "c"]
    assert f"example {index}<br>true: {names[found.true[index]]}<br>" in text
    assert f"predicted: {names[found.predicted[index]]}" in text
    assert f"confidence {found.scores[index].max():.3g}<br>loss {found.losses[index]:.3g}" in text


def test_a_table_has_a_row_for_each_of_the_worst_examples():
    found, x = numbers(40), RANDOM.normal(size=(40, 2))
    text = examples.worst_examples(found, ExampleData(x, feature_names=("<i>", "b")))
    assert text.count("<tr>") == 1 + examples.ROWS
    assert "<i>" not in text and "&lt;i&gt;" in text
    index = worst_indices(found, 1)[0]
    cells = [found.true[index], found.predicted[index], found.true[index] - found.predicted[index]]
    row = "".join(f'<td class="number">{v:.4g}</td>' for v in [*cells, *x[index]])
    assert f'<td class="number">{index}</td>{row}' in text
