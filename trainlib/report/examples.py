"""The worst examples of a model, as images or as rows of a table."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np

from trainlib.report import page
from trainlib.report.predictions import Predictions, worst

IMAGES = 18
ROWS = 15
LARGEST = 96
"""Pixels of an image's side, about; larger ones are shown with some of their pixels."""


def worst_examples(
    predictions: Predictions,
    x: np.ndarray,
    x_max: float,
    class_names: Sequence[str],
    feature_names: Sequence[str],
) -> str:
    """The examples with the highest loss: images side by side, all else as rows.

    Args:
        predictions: of the examples.
        x: the examples.
        x_max: the largest value of images' pixels; 0 for each image's own largest.
        class_names: of the classes; () where numbers are predicted.
        feature_names: of the columns; () where they have none.
    """
    if not is_image(x.shape[1:]):
        return _rows(predictions, x, class_names, feature_names)
    shown = []
    for place in worst(predictions, IMAGES):
        lines = [
            f"{name} {what:.3g}" if isinstance(what, float) else f"{name}: {what}"
            for name, what in _told(predictions, place, class_names)
        ]
        wrong = predictions.true[place] != predictions.predicted[place]
        marked = lines[1] if class_names and wrong else None
        shown.append((encoded(x[place], x_max), [f"example {place}", *lines], marked))
    return page.examples(shown)


def is_image(shape: Sequence[int]) -> bool:
    """Whether examples of that shape can be seen: gray, of three colours, or of these and alpha."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))


def encoded(image: np.ndarray, x_max: float) -> str:
    """An image as PNG in base64."""
    from matplotlib.image import imsave

    every = max(1, round(max(image.shape[:2]) / LARGEST))
    pixels = np.asarray(image[::every, ::every], np.float64)
    low, high = (0.0, x_max) if x_max else (float(pixels.min()), float(pixels.max()))
    pixels = np.clip((pixels - low) / ((high - low) or 1.0), 0, 1)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    file = io.BytesIO()
    imsave(file, pixels, cmap="gray", vmin=0, vmax=1, format="png")
    return base64.b64encode(file.getvalue()).decode("ascii")


def _rows(
    predictions: Predictions,
    x: np.ndarray,
    class_names: Sequence[str],
    feature_names: Sequence[str],
) -> str:
    """A row for each example, with its columns where it has such."""
    columns = x.shape[1] if x.ndim == 2 else 0
    features = list(feature_names) or [f"x{k}" for k in range(columns)]
    rows, told = [], []
    for place in worst(predictions, ROWS):
        told = _told(predictions, place, class_names)
        values = [float(v) for v in x[place]] if columns else []
        rows.append([int(place), *(text for _, text in told), *values])
    headers = ["example", *(name for name, _ in told), *(features if columns else [])]
    return page.table(headers, rows)


def _told(
    predictions: Predictions, place: int, class_names: Sequence[str]
) -> list[tuple[str, object]]:
    """What there is to say of an example's prediction, by name."""
    true, predicted = predictions.true[place], predictions.predicted[place]
    loss = float(predictions.losses[place])
    if predictions.scores is None:
        error = float(true - predicted)
        return [("true", float(true)), ("predicted", float(predicted)), ("error", error)]
    score = float(predictions.highest_scores[place])
    said = [("true", class_names[int(true)]), ("predicted", class_names[int(predicted)])]
    return [*said, (predictions.score_name, score), ("loss", loss)]
