"""Training examples before and after augmentation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainlib.report import page
from trainlib.report.examples import encode_png, is_image


class AugmentedExamples(NamedTuple):
    """Examples before and after augmentation.

    Attributes:
        name: text of the augmentation.
        before: the examples, [n, ...].
        after: the augmented examples in several epochs, [epochs, n, ...].
        ids: indices of the examples in the training data, [n].
    """

    name: str
    before: np.ndarray
    after: np.ndarray
    ids: np.ndarray


def augmentation_sheet(examples: AugmentedExamples, x_max: float) -> str:
    """Return HTML of a sheet of images: a row of originals, then a row for each epoch.

    Args:
        examples: the examples.
        x_max: largest value of a pixel; 0 for the largest value in each image.

    Returns:
        HTML; "" if the examples are not images.
    """
    if not is_image(examples.before.shape[1:]):
        return ""
    images = {"original": examples.before}
    images |= {f"epoch {k}": after for k, after in enumerate(examples.after, 1)}
    rows = {name: [encode_png(x, x_max) for x in found] for name, found in images.items()}
    sheet = page.image_sheet(rows, [(f"example {index}",) for index in examples.ids])
    return page.note(examples.name) + sheet
