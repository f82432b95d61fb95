"""Modules of a PyTorch `state_dict` and layers of a Keras model, in one form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import keras

from trainlib.data.archives import Array

ENTRIES = {
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
"""Kind of a module, and the shape of its weight or its running mean in PyTorch's layout."""


class StateDict(NamedTuple):
    """A state dict of PyTorch.

    Attributes:
        arrays: the arrays by name.
        is_ordered: whether they are in the order of the modules.
        source: where it is from, for messages.
    """

    arrays: Mapping[str, Array]
    is_ordered: bool
    source: str


class TorchModule(NamedTuple):
    """A module of PyTorch: the arrays of a state dict that have the same prefix.

    Attributes:
        name: the prefix; "" for the only module.
        entries: the arrays by the rest of their names, such as "weight".
    """

    name: str
    entries: Mapping[str, Array]

    @property
    def kind(self) -> str:
        """Kind of the module: "Linear", "Conv2d", "BatchNorm", or "module of another kind"."""
        rank = self.entries["weight"].ndim if "weight" in self.entries else 0
        if "running_mean" in self.entries:
            return "BatchNorm"
        return {2: "Linear", 4: "Conv2d"}.get(rank, _OTHER)

    @property
    def key(self) -> Key:
        """Kind and shape, by which layers and modules are matched."""
        first = self.entries.get("running_mean", self.entries.get("weight"))
        return self.kind, () if first is None else first.shape

    def named(self, entry: str) -> str:
        """Return the name of an entry in the state dict."""
        return f"{self.name}.{entry}" if self.name else entry

    def __str__(self) -> str:
        kind, shape = self.key
        return f"{self.name or 'its only module'} ({kind} {list(shape)})"


class KerasLayer(NamedTuple):
    """A layer of Keras.

    Attributes:
        layer: the layer.
        kind: kind of the module that it corresponds to, such as "Linear".
        variables: its variables by the entry of the module, such as "weight".
    """

    layer: Any
    kind: str
    variables: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the layer."""
        return str(self.layer.name)

    @property
    def key(self) -> Key:
        """Kind and shape, by which layers and modules are matched."""
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
    last = {entry for entries in ENTRIES.values() for entry in entries} | {_IGNORED}
    return all("/" not in name and name.rpartition(".")[2] in last for name in names)


def keras_layers(model: Any) -> Iterator[KerasLayer]:
    """Yield the layers that have parameters, in the order of the model.

    Raises:
        ValueError: there is one of another kind than those that are converted.
    """
    for layer in model.layers:
        is_of_keras = type(layer).__module__.startswith("keras.")
        kind = _KINDS.get(type(layer).__name__) if is_of_keras else None
        if kind is not None:
            found = {entry: getattr(layer, name) for entry, name in ENTRIES[kind].items()}
            yield KerasLayer(layer, kind, {e: v for e, v in found.items() if v is not None})
        elif layer.weights and not isinstance(layer, keras.layers.Normalization):
            raise ValueError(
                "parameters of PyTorch are converted for layers Dense, Conv2D and "
                f"BatchNormalization, and {layer.name} is a {type(layer).__name__}"
            )


def torch_modules(arrays: Mapping[str, Array]) -> dict[str, TorchModule]:
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
    return {
        name.removeprefix(prefix): TorchModule(name, entries) for name, entries in found.items()
    }
