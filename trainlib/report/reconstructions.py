"""Reconstructions of an autoencoder beside the originals, and the worst of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainlib.report import figures, page, tables
from trainlib.report.examples import ROWS, encode_png, is_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12
"""Number of examples that are shown beside their reconstructions."""
COLUMNS = 8
"""Largest number of columns of which a table shows the values."""


class Reconstructions(NamedTuple):
    """Reconstructions of N examples.

    Attributes:
        originals: the scaled examples, [N, ...].
        outputs: their reconstructions by the model, of the same shape.
        errors: loss of each example, [N].
    """

    originals: np.ndarray
    outputs: np.ndarray
    errors: np.ndarray


def typical_examples(found: Reconstructions, feature_names: Sequence[str] = ()) -> str:
    """Return HTML of some examples and their reconstructions, in the order of the data."""
    count = len(found.errors)
    return _shown(found, np.linspace(0, count - 1, min(SHOWN, count)).astype(int), feature_names)


def worst_reconstructions(found: Reconstructions, feature_names: Sequence[str] = ()) -> str:
    """Return HTML of the examples with the largest errors and their reconstructions."""
    errors = np.nan_to_num(found.errors, nan=np.inf, posinf=np.finfo(np.float64).max)
    return _shown(found, np.argsort(-errors, kind="stable")[:SHOWN], feature_names)


def error_histogram(found: Reconstructions) -> Figure:
    """Return a figure of the errors of the examples."""
    figure, axes = figures.new_figure(
        "distribution of the reconstruction errors", "loss", "number of test examples"
    )
    errors = found.errors[np.isfinite(found.errors)]
    if errors.size:
        figures.draw_histogram(axes, errors)
        mean = float(errors.mean())
        axes.axvline(mean, color=figures.VALIDATION, label=f"mean {mean:.3g}")
    figures.add_legend(axes)
    return figure


def _shown(found: Reconstructions, chosen: np.ndarray, feature_names: Sequence[str]) -> str:
    """Return HTML of examples beside their reconstructions: images, or rows of a table."""
    if not is_image(found.originals.shape[1:]):
        return _table(found, chosen[:ROWS], feature_names)
    low, high = (float(limit(found.originals[chosen])) for limit in (np.min, np.max))
    rows = {
        name: [encode_png((images[k] - low) / ((high - low) or 1.0), 1.0) for k in chosen]
        for name, images in (("original", found.originals), ("reconstruction", found.outputs))
    }
    captions = [(f"example {k}", f"loss {found.errors[k]:.3g}") for k in chosen]
    return page.image_sheet(rows, captions)


def _table(found: Reconstructions, chosen: np.ndarray, feature_names: Sequence[str]) -> str:
    """Return a table of examples: their loss, and columns as "original → reconstruction"."""
    originals = found.originals.reshape(len(found.errors), -1)
    outputs = found.outputs.reshape(originals.shape)
    width = min(COLUMNS, originals.shape[1])
    names = list(feature_names) or [f"x{k}" for k in range(originals.shape[1])]
    rows = [
        [
            int(k),
            float(found.errors[k]),
            *(f"{a:.3g} → {b:.3g}" for a, b in zip(originals[k], outputs[k], strict=True)),
        ][: 2 + width]
        for k in chosen
    ]
    return tables.table(["example", "loss", *names[:width]], rows)
