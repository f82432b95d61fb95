"""The examples with the highest loss, as images or as rows of a table."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trainlib.report import page, tables
from trainlib.report.predictions import Predictions, worst_indices

IMAGES = 18
"""Largest number of images in the report."""
ROWS = 15
"""Largest number of rows in the report."""
LARGEST_SIDE = 96
"""Approximate side of an image in pixels; larger images are subsampled."""


class ExampleData(NamedTuple):
    """Examples, and their properties for a report.

    Attributes:
        x: the examples, [N, ...].
        x_max: largest value of a pixel; 0 for the largest value in each image.
        class_names: names of the classes; () for numbers.
        feature_names: names of the columns; () if they have no names.
    """

    x: np.ndarray
    x_max: float = 0.0
    class_names: Sequence[str] = ()
    feature_names: Sequence[str] = ()


def worst_examples(predictions: Predictions, data: ExampleData) -> str:
    """Return HTML of the examples with the highest loss: a grid of images, or a table.

    Args:
        predictions: predictions of the examples.
        data: the examples.
    """
    if not is_image(data.x.shape[1:]):
        return _table(predictions, data)
    shown = []
    for index in worst_indices(predictions, IMAGES):
        lines = [
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name}: {value}"
            for name, value in _describe(predictions, index, data.class_names)
        ]
        wrong = predictions.true[index] != predictions.predicted[index]
        marked = lines[1] if data.class_names and wrong else None
        image = encode_png(data.x[index], data.x_max)
        shown.append(page.ExampleImage(image, (f"example {index}", *lines), marked))
    return page.example_images(shown)


def is_image(shape: Sequence[int]) -> bool:
    """Return whether examples of a shape are images: gray, RGB or RGBA."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))


def encode_png(image: np.ndarray, x_max: float) -> str:
    """Return an image as PNG in base64."""
    from matplotlib.image import imsave

    stride = max(1, round(max(image.shape[:2]) / LARGEST_SIDE))
    pixels = np.asarray(image[::stride, ::stride], np.float64)
    low, high = (0.0, x_max) if x_max else (float(pixels.min()), float(pixels.max()))
    pixels = np.clip((pixels - low) / ((high - low) or 1.0), 0, 1)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    file = io.BytesIO()
    imsave(file, pixels, cmap="gray", vmin=0, vmax=1, format="png")
    return base64.b64encode(file.getvalue()).decode("ascii")


def _table(predictions: Predictions, data: ExampleData) -> str:
    """Return a table with a row for each example, with its features if it has columns."""
    count = data.x.shape[1] if data.x.ndim == 2 else 0
    features = list(data.feature_names) or [f"x{k}" for k in range(count)]
    rows, described = [], []
    for index in worst_indices(predictions, ROWS):
        described = _describe(predictions, index, data.class_names)
        values = [float(v) for v in data.x[index]] if count else []
        rows.append([int(index), *(value for _, value in described), *values])
    headers = ["example", *(name for name, _ in described), *(features if count else [])]
    return tables.table(headers, rows)


def _describe(
    predictions: Predictions, index: int, class_names: Sequence[str]
) -> list[tuple[str, object]]:
    """Return names and values that describe the prediction for an example."""
    true, predicted = predictions.true[index], predictions.predicted[index]
    if predictions.scores is None:
        error = float(true - predicted)
        return [("true", float(true)), ("predicted", float(predicted)), ("error", error)]
    score = float(predictions.highest_scores[index])
    return [
        ("true", class_names[int(true)]),
        ("predicted", class_names[int(predicted)]),
        (predictions.score_name, score),
        ("loss", float(predictions.losses[index])),
    ]
