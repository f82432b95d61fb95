"""Which module of a PyTorch `state_dict` belongs to which layer of a Keras model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras

from trainlib.core.checks import first_of
from trainlib.interop.torch_modules import (
    KerasLayer,
    StateDict,
    TorchModule,
    keras_layers,
    torch_modules,
)


def match_layers(
    model: Any, state_dict: StateDict, names: Mapping[str, str]
) -> list[tuple[KerasLayer, TorchModule]]:
    """Return each layer of a Keras model with its module in a state dict.

    Args:
        model: the model, built.
        state_dict: the state dict.
        names: names of modules by names of layers, for some layers.

    Raises:
        ValueError: a layer has no module, several modules may be meant, or a module is left over.
    """
    layers, modules = list(keras_layers(model)), torch_modules(state_dict.arrays)
    found = _given(layers, modules, names)
    by_name = {layer.name: layer for layer in layers}
    for name in by_name:
        usual = [m for m in _usual_names(name, by_name) if m in modules]
        if name not in found and usual:
            found[name] = modules[usual[0]]
    used = {module.name for module in found.values()}
    left = [module for module in modules.values() if module.name not in used]
    rest = [layer for layer in layers if layer.name not in found]
    found |= _by_shape(rest, left, state_dict, isinstance(model, keras.Sequential))
    return [(layer, found[layer.name]) for layer in layers]


def _given(
    layers: Sequence[KerasLayer], modules: Mapping[str, TorchModule], names: Mapping[str, str]
) -> dict[str, TorchModule]:
    """Return the modules that the caller named, by the names of their layers."""
    by_name = {layer.name: layer for layer in layers}
    found: dict[str, TorchModule] = {}
    for name, module in names.items():
        given = {m.name: m for m in modules.values()} | dict(modules)
        if name not in by_name or module not in given:
            kind, known = ("layer", by_name) if name not in by_name else ("module", modules)
            raise ValueError(
                f"names: there is no {kind} {name if kind == 'layer' else module!r}; there are "
                f"{', '.join(known)}"
            )
        found[name] = given[module]
    return found


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
    layers: Sequence[KerasLayer],
    modules: Sequence[TorchModule],
    state_dict: StateDict,
    is_chain: bool,
) -> dict[str, TorchModule]:
    """Return the modules of layers by their shapes; those of equal shapes in their order.

    Args:
        layers: the layers without a module so far.
        modules: the modules without a layer so far.
        state_dict: the state dict that has these modules.
        is_chain: whether each layer takes the outputs of the one before it.
    """
    keys = dict.fromkeys([*(x.key for x in layers), *(m.key for m in modules)])
    found: dict[str, TorchModule] = {}
    alone: tuple[list[str], list[str]] = ([], [])
    for key in keys:
        ours = [layer for layer in layers if layer.key == key]
        theirs = [module for module in modules if module.key == key]
        if len(ours) != len(theirs):
            alone[0].extend(map(str, ours))
            alone[1].extend(map(str, theirs))
            continue
        if not state_dict.is_ordered:
            theirs = sorted(theirs, key=lambda m: _natural(m.name))
        alike = len({re.sub(r"\d+", "0", m.name) for m in theirs}) == 1
        if len(ours) > 1 and not (is_chain and (state_dict.is_ordered or alike)):
            raise ValueError(
                f"{state_dict.source} has {len(theirs)} modules that may be {ours[0].name}: "
                f"{', '.join(m.name for m in theirs)}; say which by names={{layer: module}}"
            )
        found |= {layer.name: module for layer, module in zip(ours, theirs, strict=True)}
    if any(alone):
        ours_left, theirs_left = (first_of(x, 4) or "none" for x in alone)
        raise ValueError(
            f"{state_dict.source} does not fit the model: layers without a module: {ours_left}; "
            f"modules without a layer: {theirs_left}"
        )
    return found


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key by which names are sorted with their numbers as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
