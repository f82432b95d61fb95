"""Arrays of a PyTorch `state_dict` in the layouts of the variables of a Keras model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from trainlib.data.archives import Array
from trainlib.interop.flattened_images import Image, built_shape, flattened_images
from trainlib.interop.torch_matching import match_layers
from trainlib.interop.torch_modules import ENTRIES, KerasLayer, StateDict, TorchModule

TORCH_EPSILON = 1e-5
"""Epsilon of batch normalization in PyTorch."""


class Value(NamedTuple):
    """A converted array.

    Attributes:
        variable: the variable of the Keras layer.
        name: name of the array in the state dict.
        array: the array in the variable's layout.
    """

    variable: Any
    name: str
    array: Array


def torch_values(model: Any, state_dict: StateDict, names: Mapping[str, str]) -> list[Value]:
    """Return the arrays of a state dict in the layouts of a Keras model's variables.

    Args:
        model: the model, built.
        state_dict: the state dict.
        names: names of modules by names of layers, for some layers.

    Raises:
        ValueError: as of `load_parameters`.
    """
    pairs = match_layers(model, state_dict, names)
    flat = flattened_images(model)
    problems = [line for layer, module in pairs for line in _differences(layer, module)]
    problems += [line for layer, _ in pairs for line in _padding(layer)]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        found = "; ".join(problems[:3])
        raise ValueError(
            f"{state_dict.source} does not fit the model {model.name!r}: {found}{more}"
        )
    return [
        Value(v, module.named(entry), _convert(layer, entry, module.entries[entry], flat))
        for layer, module in pairs
        for entry, v in layer.variables.items()
    ]


def _differences(layer: KerasLayer, module: TorchModule) -> Iterator[str]:
    """Yield what a module has more or less than its layer, and shapes that differ."""
    if layer.kind != module.kind:
        yield f"{layer} is not {module}"
        return
    for entry in layer.variables:
        if entry not in module.entries:
            ours = ENTRIES[layer.kind][entry]
            yield f"it lacks {module.named(entry)}, which is {layer.name}/{ours}"
        elif module.entries[entry].shape != layer.shape(entry):
            yield (
                f"{module.named(entry)} has shape {list(module.entries[entry].shape)}; "
                f"{layer.name} needs {list(layer.shape(entry))}"
            )
    for entry in module.entries:
        if entry not in layer.variables:
            yield f"{module.named(entry)} has no place in {layer.name}, which has no {entry}"


def _padding(layer: KerasLayer) -> Iterator[str]:
    """Yield a line on a convolution with strides that does not pad its input as PyTorch does."""
    convolution = layer.layer
    if layer.kind != "Conv2d" or convolution.padding != "same":
        return
    sides = zip(
        built_shape(convolution)[1:3], convolution.kernel_size, convolution.strides, strict=False
    )
    for side, size, stride in sides:
        if stride > 1 and side is not None:
            before = max((-(-side // stride) - 1) * stride + size - side, 0) // 2
            if before != size // 2:
                yield (
                    f"{layer.name} pads an input of {side} by {before} pixels before and PyTorch "
                    f"by {size // 2}, so that predictions would differ: build the resnet with "
                    "padding='symmetric'"
                )
                return


def _convert(layer: KerasLayer, entry: str, x: Array, flattened: Mapping[int, Image]) -> Array:
    """Return an array of PyTorch in the layout of Keras."""
    image = flattened.get(id(layer.layer))
    if layer.kind == "BatchNorm":
        return x if image is None else _in_order_of_keras(x, image)
    if entry != "weight":
        return x
    kernel: Array = x.transpose(2, 3, 1, 0) if layer.kind == "Conv2d" else x.T
    return kernel if image is None else _in_order_of_keras(kernel, image)


def _in_order_of_keras(x: Array, image: Image) -> Array:
    """Return an array whose rows are [channels, height, width] as [height, width, channels]."""
    height, width, channels = image
    rows = x.reshape(channels, height * width, *x.shape[1:])
    found: Array = rows.swapaxes(0, 1).reshape(x.shape)
    return found
