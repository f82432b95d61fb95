"""Files for TensorBoard's projector: points in many dimensions, their labels and images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainlib.callbacks.images import one_of_images
from trainlib.core.types import Tree
from trainlib.training.files import write_atomically, write_text
from trainlib.training.functional_model import functional_from_keras
from trainlib.training.keras_private import inputs_of_call, outputs_of, source_of
from trainlib.training.trainable import parameters_of

CONFIG = "projector_config.pbtxt"
TENSORS = "tensors.tsv"
METADATA = "metadata.tsv"
SPRITE = "sprite.png"
BATCH = 512


def write_embeddings(folder: Path, points: np.ndarray, labels: Any, x: Any) -> None:
    """Write the files of the projector atomically, the one that names the others last.

    Args:
        folder: folder of the run's events.
        points: float array [n, dimensions].
        labels: label of each point, [n]; or [n, classes], whose largest entry marks the label; for
            several outputs a mapping by name.
        x: the inputs; each point is shown as its image, if one of them is an image.
    """
    lines = ["\t".join(f"{value:.6g}" for value in point) for point in points]
    write_text(folder / TENSORS, "".join(f"{line}\n" for line in lines))
    write_text(folder / METADATA, "".join(f"{line}\n" for line in _metadata(labels)))
    config = [f'tensor_name: "last hidden layer"\n  tensor_path: "{TENSORS}"']
    config.append(f'metadata_path: "{METADATA}"')
    images = one_of_images(x)
    if images is not None:
        _write_sprite(folder / SPRITE, images)
        height, width = images.shape[1:3]
        dimensions = f"single_image_dim: {width}\n    single_image_dim: {height}"
        config.append(f'sprite {{\n    image_path: "{SPRITE}"\n    {dimensions}\n  }}')
    write_text(folder / CONFIG, "embeddings {\n  " + "\n  ".join(config) + "\n}\n")


def last_hidden(model: Any) -> Any | None:
    """Return a Keras model up to the input of its last layer with parameters.

    With several outputs it is the last layer before the first of them. None if Keras does not know
    the order of the layers, there is no earlier layer, or that layer or one after it has several
    inputs.
    """
    if not getattr(model, "inputs", None):
        return None
    if sum(1 for layer in model.layers if parameters_of(layer)) < 2:
        return None
    hidden = _before_first_output(model)
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return None if hidden is None else keras.Model(inputs, hidden, name=model.name)


def _before_first_output(model: Any) -> Any | None:
    """Return the input of the last layer with parameters before the first output.

    None if that layer, or one between it and the output, has several inputs.
    """
    outputs = outputs_of(model)
    first = next(iter(outputs.values())) if isinstance(outputs, Mapping) else model.outputs[0]
    layer, node, _ = source_of(first)
    inputs = inputs_of_call(layer, node)
    while len(inputs) == 1 and not parameters_of(layer):
        layer, node, _ = source_of(inputs[0])
        inputs = inputs_of_call(layer, node)
    return inputs[0] if len(inputs) == 1 else None


def activations(hidden: Any, params: Tree, model_state: Tree, x: Any) -> np.ndarray:
    """Return the outputs [n, ...] of `last_hidden` in inference mode, with a state's values."""
    pure = functional_from_keras(hidden)
    values = [
        _values(of_part, of_model)
        for of_part, of_model in zip(pure[1:], (params, model_state), strict=True)
    ]
    size = len(tf.nest.flatten(x)[0])
    parts = []
    for start in range(0, size, BATCH):
        rows = slice(start, start + BATCH)
        batch = tf.nest.map_structure(lambda a: tf.convert_to_tensor(a[rows]), x)  # noqa: B023
        parts.append(np.asarray(pure.apply_fn(*values, batch, training=False).y_pred))
    return np.concatenate(parts).reshape(size, -1).astype(np.float64)


def _values(of_part: Mapping[str, Any], of_model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state's values for the variables of a part of the model."""
    return {path: of_model.get(path, x) for path, x in of_part.items()}


def _metadata(labels: Any) -> list[Any]:
    """Return the lines of the labels: of several outputs a header, and a column for each."""
    if not isinstance(labels, Mapping):
        return _labels(labels)
    if len(labels) == 1:  # TensorBoard takes the header of a single column for a label
        return _labels(next(iter(labels.values())))
    rows = zip(*map(_labels, labels.values()), strict=True)
    return ["\t".join(map(str, row)) for row in (labels, *rows)]


def _labels(y: Any) -> list[Any]:
    """Return a label per example."""
    labels = np.asarray(y)
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.reshape(len(labels), -1).argmax(axis=1)
    found: list[Any] = labels.reshape(len(labels), -1)[:, 0].tolist()
    return found


def _write_sprite(path: Path, images: np.ndarray) -> None:
    """Write all images as one square image, row by row."""
    count, height, width, channels = images.shape
    columns = int(np.ceil(np.sqrt(count)))
    tiles = np.zeros([columns**2, height, width, channels])
    tiles[:count] = images
    rows = tiles.reshape(columns, columns, height, width, channels).swapaxes(1, 2)
    pixels = rows.reshape(columns * height, columns * width, channels)
    png = tf.io.encode_png(np.rint(pixels * 255).astype(np.uint8)).numpy()

    def write(temporary: Path) -> None:
        temporary.write_bytes(png)

    write_atomically(path, write)
