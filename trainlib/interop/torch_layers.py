"""The layers of a Keras model and the modules of a PyTorch `state_dict`, matched and converted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras

from trainlib.core.checks import first_of
from trainlib.data.archives import Array

TORCH_EPSILON = 1e-5
"""Epsilon of batch normalization in PyTorch."""
_ENTRIES = {
    "Linear": {"weight": "kernel", "bias": "bias"},
    "Conv2d": {"weight": "kernel", "bias": "bias"},
    "BatchNorm": {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    },
}
"""Attributes of the layer by the entry of the module, by kind of module."""
_KINDS = {"Dense": "Linear", "Conv2D": "Conv2d", "BatchNormalization": "BatchNorm"}
"""Kinds of modules by the class of the layer."""
_IGNORED = "num_batches_tracked"
_OTHER = "module of another kind"
Key = tuple[str, tuple[int, ...]]


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


class _Module(NamedTuple):
    """A module of PyTorch: the arrays of a state dict that have the same prefix."""

    name: str
    entries: Mapping[str, Array]

    @property
    def kind(self) -> str:
        rank = self.entries["weight"].ndim if "weight" in self.entries else 0
        if "running_mean" in self.entries:
            return "BatchNorm"
        return {2: "Linear", 4: "Conv2d"}.get(rank, _OTHER)

    @property
    def key(self) -> Key:
        first = self.entries.get("running_mean", self.entries.get("weight"))
        return self.kind, () if first is None else first.shape

    def named(self, entry: str) -> str:
        """Return the name of an entry in the state dict."""
        return f"{self.name}.{entry}" if self.name else entry

    def __str__(self) -> str:
        kind, shape = self.key
        return f"{self.name or 'its only module'} ({kind} {list(shape)})"


class _Layer(NamedTuple):
    """A layer of Keras with its kind and its variables by the entry of the module."""

    layer: Any
    kind: str
    variables: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.layer.name)

    @property
    def key(self) -> Key:
        if self.kind == "BatchNorm":
            return self.kind, tuple(self.variables["running_mean"].shape)
        return self.kind, self.shape("weight")

    def shape(self, entry: str) -> tuple[int, ...]:
        """Return the shape of an entry in PyTorch's layout."""
        shape = tuple(self.variables[entry].shape)
        if entry != "weight" or self.kind == "BatchNorm":
            return shape
        return shape[::-1] if self.kind == "Linear" else (shape[3], shape[2], *shape[:2])

    def __str__(self) -> str:
        kind, shape = self.key
        return f"{self.name} ({kind} {list(shape)})"


def is_torch_layout(names: Iterable[str]) -> bool:
    """Return whether names are those of a state dict of PyTorch, without "/", and with dots."""
    last = {entry for entries in _ENTRIES.values() for entry in entries} | {_IGNORED}
    return all("/" not in name and name.rpartition(".")[2] in last for name in names)


def torch_values(
    model: Any, arrays: Mapping[str, Array], names: Mapping[str, str], ordered: bool, where: str
) -> list[Value]:
    """Return the arrays of a state dict in the layouts of a Keras model's variables.

    Args:
        model: the model, built.
        arrays: the state dict.
        names: names of modules by names of layers, for some layers.
        ordered: whether the state dict is in the order of the modules.
        where: where it is from, for messages.

    Raises:
        ValueError: as of `load_parameters`.
    """
    layers, modules = list(_layers(model)), _modules(arrays)
    pairs = _matched(model, layers, modules, names, ordered, where)
    flat = _flattened_images(model)
    problems = [line for layer, module in pairs for line in _differences(layer, module)]
    problems += [line for layer in layers for line in _padding(layer)]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        found = "; ".join(problems[:3])
        raise ValueError(f"{where} does not fit the model {model.name!r}: {found}{more}")
    return [
        Value(v, module.named(entry), _convert(layer, entry, module.entries[entry], flat))
        for layer, module in pairs
        for entry, v in layer.variables.items()
    ]


def _layers(model: Any) -> Iterator[_Layer]:
    """Yield the layers that have parameters, in the order of the model.

    Raises:
        ValueError: there is one of another kind than those that are converted.
    """
    for layer in model.layers:
        is_of_keras = type(layer).__module__.startswith("keras.")
        kind = _KINDS.get(type(layer).__name__) if is_of_keras else None
        if kind is not None:
            found = {entry: getattr(layer, name) for entry, name in _ENTRIES[kind].items()}
            yield _Layer(layer, kind, {e: v for e, v in found.items() if v is not None})
        elif layer.weights and not isinstance(layer, keras.layers.Normalization):
            raise ValueError(
                "parameters of PyTorch are converted for layers Dense, Conv2D and "
                f"BatchNormalization, and {layer.name} is a {type(layer).__name__}"
            )


def _modules(arrays: Mapping[str, Array]) -> dict[str, _Module]:
    """Return the modules of a state dict by name, in its order, without a prefix of them all."""
    found: dict[str, dict[str, Array]] = {}
    for name, array in arrays.items():
        module, _, entry = name.rpartition(".")
        if entry != _IGNORED:
            found.setdefault(module, {})[entry] = array
    prefix = ""
    while len(heads := {name.removeprefix(prefix).partition(".")[:2] for name in found}) == 1:
        head, dot = heads.pop()
        if not dot:
            break
        prefix += f"{head}."
    return {name.removeprefix(prefix): _Module(name, entries) for name, entries in found.items()}


def _matched(
    model: Any,
    layers: Sequence[_Layer],
    modules: Mapping[str, _Module],
    names: Mapping[str, str],
    ordered: bool,
    where: str,
) -> list[tuple[_Layer, _Module]]:
    """Return each layer with its module.

    Raises:
        ValueError: a layer has none, or is not the only one that may be meant; or a module is left.
    """
    by_name = {layer.name: layer for layer in layers}
    found: dict[str, _Module] = {}
    for name, module in names.items():
        given = {m.name: m for m in modules.values()} | dict(modules)
        if name not in by_name or module not in given:
            kind, known = ("layer", by_name) if name not in by_name else ("module", modules)
            raise ValueError(
                f"names: there is no {kind} {name if kind == 'layer' else module!r}; there are "
                f"{', '.join(known)}"
            )
        found[name] = given[module]
    for name in by_name:
        usual = [m for m in _usual_names(name, by_name) if m in modules]
        if name not in found and usual:
            found[name] = modules[usual[0]]
    used = {module.name for module in found.values()}
    left = [module for module in modules.values() if module.name not in used]
    rest = [layer for layer in layers if layer.name not in found]
    found |= _by_shape(rest, left, ordered, isinstance(model, keras.Sequential), where)
    return [(layer, found[layer.name]) for layer in layers]


def _usual_names(layer: str, layers: Iterable[str]) -> Iterator[str]:
    """Yield the names that a layer has in PyTorch: its own, and those of the residual network."""
    yield layer
    blocks = max((int(n) for name in layers for n in re.findall(r"^block_(\d+)_", name)), default=0)
    if not blocks:
        return
    yield from {"conv_1": ["conv1"], "conv_1_norm": ["bn1"], "outputs": ["fc", "linear"]}.get(
        layer, []
    )
    if part := re.fullmatch(r"block_(\d+)_(conv_(\d)|shortcut)(_norm)?", layer):
        stage, block = divmod(int(part[1]) - 1, blocks // 3)
        place = f"layer{stage + 1}.{block}."
        if part[3]:
            yield place + ("bn" if part[4] else "conv") + part[3]
        else:
            yield from (
                f"{place}{name}.{1 if part[4] else 0}" for name in ("downsample", "shortcut")
            )


def _by_shape(
    layers: Sequence[_Layer], modules: Sequence[_Module], ordered: bool, chain: bool, where: str
) -> dict[str, _Module]:
    """Return the modules of layers by their shapes; those of equal shapes in their order.

    Args:
        layers: the layers that are left.
        modules: the modules that are left.
        ordered: whether these are in their order.
        chain: whether the layers follow one another.
        where: where the modules are from, for messages.
    """
    keys = dict.fromkeys([*(x.key for x in layers), *(m.key for m in modules)])
    found: dict[str, _Module] = {}
    alone: tuple[list[str], list[str]] = ([], [])
    for key in keys:
        ours = [layer for layer in layers if layer.key == key]
        theirs = [module for module in modules if module.key == key]
        if len(ours) != len(theirs):
            alone[0].extend(map(str, ours))
            alone[1].extend(map(str, theirs))
            continue
        if not ordered:
            theirs = sorted(theirs, key=lambda m: _natural(m.name))
        alike = len({re.sub(r"\d+", "0", m.name) for m in theirs}) == 1
        if len(ours) > 1 and not (chain and (ordered or alike)):
            raise ValueError(
                f"{where} has {len(theirs)} modules that may be {ours[0].name}: "
                f"{', '.join(m.name for m in theirs)}; say which by names={{layer: module}}"
            )
        found |= {layer.name: module for layer, module in zip(ours, theirs, strict=True)}
    if any(alone):
        ours_left, theirs_left = (first_of(x, 4) or "none" for x in alone)
        raise ValueError(
            f"{where} does not fit the model: layers without a module: {ours_left}; modules "
            f"without a layer: {theirs_left}"
        )
    return found


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key by which names are sorted with their numbers as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def _differences(layer: _Layer, module: _Module) -> Iterator[str]:
    """Yield what a module has more or less than its layer, and shapes that differ."""
    if layer.kind != module.kind:
        yield f"{layer} is not {module}"
        return
    for entry in layer.variables:
        if entry not in module.entries:
            ours = _ENTRIES[layer.kind][entry]
            yield f"it lacks {module.named(entry)}, which is {layer.name}/{ours}"
        elif module.entries[entry].shape != layer.shape(entry):
            yield (
                f"{module.named(entry)} has shape {list(module.entries[entry].shape)}; "
                f"{layer.name} needs {list(layer.shape(entry))}"
            )
    for entry in module.entries:
        if entry not in layer.variables:
            yield f"{module.named(entry)} has no place in {layer.name}, which has no {entry}"


def _padding(layer: _Layer) -> Iterator[str]:
    """Yield a line on a convolution with strides that does not pad its input as PyTorch does."""
    convolution = layer.layer
    if layer.kind != "Conv2d" or convolution.padding != "same":
        return
    sides = convolution.input.shape[1:3]
    for side, size, stride in zip(sides, convolution.kernel_size, convolution.strides, strict=True):
        if stride > 1 and side is not None:
            before = max((-(-side // stride) - 1) * stride + size - side, 0) // 2
            if before != size // 2:
                yield (
                    f"{layer.name} pads an input of {side} by {before} pixels before and PyTorch "
                    f"by {size // 2}, so that predictions would differ: build the resnet with "
                    "padding='symmetric'"
                )
                return


def _flattened_images(model: Any) -> dict[int, tuple[int, ...]]:
    """Return [height, width, channels] of the images that `Flatten` makes inputs of dense layers.

    Returns:
        Their shapes by the id of the dense layer.
    """
    by_output = {id(layer.output): layer for layer in model.layers}
    found = {}
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Dense):
            continue
        before = by_output.get(id(layer.input))
        while isinstance(before, (keras.layers.Dropout, keras.layers.Activation)):
            before = by_output.get(id(before.input))
        if isinstance(before, keras.layers.Flatten) and len(before.input.shape) == 4:
            found[id(layer)] = tuple(before.input.shape[1:])
    return found


def _convert(
    layer: _Layer, entry: str, x: Array, flattened: Mapping[int, tuple[int, ...]]
) -> Array:
    """Return an array of PyTorch in the layout of Keras."""
    if entry != "weight" or layer.kind == "BatchNorm":
        return x
    if layer.kind == "Conv2d":
        kernel: Array = x.transpose(2, 3, 1, 0)
    elif id(layer.layer) in flattened:
        height, width, channels = flattened[id(layer.layer)]
        images = x.reshape(len(x), channels, height, width)
        kernel = images.transpose(2, 3, 1, 0).reshape(-1, len(x))
    else:
        kernel = x.T
    return kernel
