"""Files for TensorBoard's projector: points in many dimensions, their labels, their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainlib.callbacks.pictures import as_images
from trainlib.core.types import Tree
from trainlib.training.files import write_text, write_whole
from trainlib.training.functional_model import from_keras

CONFIG = "projector_config.pbtxt"
TENSORS = "tensors.tsv"
METADATA = "metadata.tsv"
SPRITE = "sprite.png"
BATCH = 512


def write_embeddings(folder: Path, points: np.ndarray, labels: Any, x: Any) -> None:
    """The files of the projector, each whole or not at all; the one that names the others last.

    Args:
        folder: of a run, as TensorBoard calls a folder with events.
        points: [n, dimensions].
        labels: [n], or [n, classes] of which the largest counts.
        x: the inputs; where they are images, each point is shown by its own.
    """
    lines = ["\t".join(f"{value:.6g}" for value in point) for point in points]
    write_text(folder / TENSORS, "".join(f"{line}\n" for line in lines))
    write_text(folder / METADATA, "".join(f"{label}\n" for label in _labels(labels)))
    about = [f'tensor_name: "last hidden layer"\n  tensor_path: "{TENSORS}"']
    about.append(f'metadata_path: "{METADATA}"')
    images = as_images(x)
    if images is not None:
        _write_sprite(folder / SPRITE, images)
        height, width = images.shape[1:3]
        dimensions = f"single_image_dim: {width}\n    single_image_dim: {height}"
        about.append(f'sprite {{\n    image_path: "{SPRITE}"\n    {dimensions}\n  }}')
    write_text(folder / CONFIG, "embeddings {\n  " + "\n  ".join(about) + "\n}\n")


def last_hidden(model: Any) -> Any | None:
    """A Keras model up to the input of its last layer with parameters.

    None where Keras does not know the order of its layers, or where there is no layer before.
    """
    if not getattr(model, "inputs", None):
        return None
    layers = [layer for layer in model.layers if layer.trainable_weights]
    if len(layers) < 2:
        return None
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(inputs, layers[-1].input, name=model.name)


def activations(hidden: Any, params: Tree, model_state: Tree, x: Any) -> np.ndarray:
    """What `last_hidden` gives for inputs, in inference mode, with values of a state; [n, ...]."""
    pure = from_keras(hidden)
    own = [
        _values(mine, theirs) for mine, theirs in zip(pure[1:], (params, model_state), strict=True)
    ]
    size = len(tf.nest.flatten(x)[0])
    parts = []
    for start in range(0, size, BATCH):
        rows = slice(start, start + BATCH)
        batch = tf.nest.map_structure(lambda a: tf.convert_to_tensor(a[rows]), x)  # noqa: B023
        parts.append(np.asarray(pure.apply_fn(*own, batch, training=False).y_pred))
    return np.concatenate(parts).reshape(size, -1).astype(np.float64)


def _values(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a state for the variables of a part of the model."""
    return {path: theirs.get(path, x) for path, x in mine.items()}


def _labels(y: Any) -> list[Any]:
    labels = np.asarray(y)
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.reshape(len(labels), -1).argmax(axis=1)
    found: list[Any] = labels.reshape(len(labels), -1)[:, 0].tolist()
    return found


def _write_sprite(path: Path, images: np.ndarray) -> None:
    """All images in the rows of a square, in their order."""
    count, height, width, channels = images.shape
    columns = int(np.ceil(np.sqrt(count)))
    tiles = np.zeros([columns**2, height, width, channels])
    tiles[:count] = images
    rows = tiles.reshape(columns, columns, height, width, channels).swapaxes(1, 2)
    pixels = rows.reshape(columns * height, columns * width, channels)
    png = tf.io.encode_png(np.rint(pixels * 255).astype(np.uint8)).numpy()

    def write(aside: Path) -> None:
        aside.write_bytes(png)

    write_whole(path, write)
