"""Which layers of a Keras model take flattened images, whose values PyTorch has in another order.

Keras flattens images [height, width, channels], PyTorch [channels, height, width].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import keras

from trainlib.training.keras_private import all_layers, calls_of, graph_of_layers
from trainlib.training.layer_kinds import ELEMENTWISE

Image: TypeAlias = tuple[int, ...]
"""Height, width and channels of a flattened image; () if the order of its values is unknown."""
_UNKNOWN: Image = ()
_CONVERTED = ("Dense", "Conv2D", "BatchNormalization")
_BY_ELEMENT = (
    *ELEMENTWISE,
    *("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise"),
    *("UnitNormalization", "ActivityRegularization", "BatchNormalization"),
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"),
)
"""Layers whose outputs are in the order of their inputs."""


def flattened_images(model: Any) -> dict[int, Image]:
    """Return [height, width, channels] of the flattened images that layers take.

    Returns:
        Their shapes by the id of the dense layer or batch normalization.

    Raises:
        ValueError: a layer takes flattened images in an unknown order, or a model with its own
            `call` flattens images.
    """
    graph = graph_of_layers(model)
    if graph is None:
        _check_flattens_nothing(model)
        return {}
    images: dict[int, Image | None] = {}  # by the id of the symbolic tensor
    taken: dict[int, Image | None] = {}
    for call in calls_of(graph):
        layer, orders = call.operation, {images.get(id(x)) for x in call.input_tensors}
        image = orders.pop() if len(orders) == 1 else _UNKNOWN
        if _is_one_of(layer, _CONVERTED):
            if image == _UNKNOWN or taken.setdefault(id(layer), image) != image:
                raise ValueError(
                    f"layer {layer.name!r} takes flattened images after a layer that may change "
                    "the order of their values, which is another in PyTorch: it is followed only "
                    "through layers that keep it, such as activations and batch normalization"
                )
        images |= {id(x): _order_after(call, image) for x in call.outputs}
    return {key: image for key, image in taken.items() if image is not None}


def _is_one_of(layer: Any, names: Sequence[str]) -> bool:
    """Return whether a layer is of one of some classes of Keras, by their names."""
    return isinstance(layer, tuple(getattr(keras.layers, name) for name in names))


def _order_after(call: Any, image: Image | None) -> Image | None:
    """Return the order of the outputs of a call that takes values in a given order."""
    if image is None:
        return _UNKNOWN if _moves_pixels(call) else _image_flattened_by(call)
    if _is_one_of(call.operation, _BY_ELEMENT):
        return image
    return None if _is_one_of(call.operation, _CONVERTED) else _UNKNOWN


def _moves_pixels(call: Any) -> bool:
    """Return whether a call makes images of numbers in another order than PyTorch's."""
    before, after = (tuple(x[0].shape[1:]) for x in (call.input_tensors, call.outputs))
    if _is_one_of(call.operation, ["Permute"]):
        return _differs(before) or _differs(after)
    return _is_one_of(call.operation, ["Reshape"]) and _differs(after) and before != after


def _image_flattened_by(call: Any) -> Image | None:
    """Return the shape of the images that a call flattens; None if it flattens none."""
    if len(call.input_tensors) != 1 or len(call.outputs) != 1:
        return None
    image = tuple(call.input_tensors[0].shape[1:])
    if not _differs(image) or tuple(call.outputs[0].shape[1:]) != (math.prod(image),):
        return None
    return image


def _differs(image: Sequence[Any]) -> bool:
    """Return whether flattened images of a shape are in another order in PyTorch."""
    return len(image) == 3 and None not in image and image[2] > 1 and image[0] * image[1] > 1


def built_shape(layer: Any) -> tuple[int | None, ...]:
    """Return the shape of the inputs with which a layer was built; () if it is unknown."""
    return tuple((layer.get_build_config() or {}).get("input_shape") or ())


def _check_flattens_nothing(model: Any) -> None:
    """Raise `ValueError` if a model with its own `call` has a layer that flattens images."""
    for layer in all_layers(model):
        is_reshape = isinstance(layer, keras.layers.Reshape) and len(layer.target_shape) == 1
        shape = built_shape(layer)  # Keras does not keep that of a `Reshape`
        if (is_reshape or isinstance(layer, keras.layers.Flatten)) and (
            not shape or _differs(shape[1:])
        ):
            raise ValueError(
                f"{model.name!r} has its own call, so that it is unknown which layers take the "
                f"images that {layer.name!r} flattens, and PyTorch's order is another: make a "
                "keras.Sequential or a keras.Model of inputs and outputs of the same layers"
            )
