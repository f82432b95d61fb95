"""The variables of a Keras optimizer, by slot and by parameter path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainlib.interop.keras_optimizers import COUNTERPARTS
from trainlib.interop.slot_table import (
    FieldSlots,
    Slot,
    SlotTable,
    check_names,
    scalar_slots,
    slots,
    to_array,
)
from trainlib.training.model_variables import model_variables
from trainlib.transforms.accumulate import AccumulateState
from trainlib.transforms.ema import EmaState

AVERAGE = "_model_variables_moving_average"
SUMS = "_accumulated_gradients"
VIRTUAL = ("updates", "micro_step", "micro_weight")
"""Slots without a variable in Keras: they follow from its count of iterations."""


def field_slots(keras_optimizer: Any, weight: float) -> FieldSlots:
    """Return the slots of each type of state; `weight` is that of a micro-batch."""
    counterpart = COUNTERPARTS[type(keras_optimizer).__name__]
    wrappers = {
        EmaState: slots(average=AVERAGE),
        AccumulateState: {"grad_sum": Slot(SUMS, weight)}
        | scalar_slots(micro_step="micro_step", weight_sum="micro_weight"),
    }
    return lambda kind: wrappers.get(kind, counterpart.slots)


def read(keras_optimizer: Any, named: Mapping[str, Any], weight: float) -> SlotTable:
    """Return the slot table of a Keras optimizer's variables.

    Args:
        keras_optimizer: a built optimizer.
        named: the model's variables by path.
        weight: weight of a micro-batch.
    """
    updates, micro_step = update_count(keras_optimizer)
    virtual = dict(zip(VIRTUAL, (updates, micro_step, weight * micro_step), strict=True))
    names = {slot.name for slot in COUNTERPARTS[type(keras_optimizer).__name__].slots.values()}
    table: SlotTable = {}
    for name in sorted((names | {AVERAGE, SUMS}) - set(VIRTUAL)):
        found = slot_variables(keras_optimizer, name, named)
        if found:
            table[name] = {path: to_array(variable) for path, variable in found.items()}
    if SUMS in table:
        names |= {"micro_step", "micro_weight"}
    return table | {name: {"": np.float64(x)} for name, x in virtual.items() if name in names}


def write(table: SlotTable, keras_optimizer: Any, named: Mapping[str, Any]) -> None:
    """Assign the arrays of a slot table to a Keras optimizer's variables."""
    for slot, entries in table.items():
        if slot not in VIRTUAL:
            for path, variable in slot_variables(keras_optimizer, slot, named).items():
                variable.assign(entries[path])


def slot_variables(keras_optimizer: Any, slot: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of a slot by path, or under "" if there is one for all."""
    found = getattr(keras_optimizer, slot, [])
    if not isinstance(found, (list, tuple)):
        return {"": found}
    if not found:
        return {}
    index = keras_optimizer._get_variable_index
    by_path = {path: found[index(variable)] for path, variable in named.items()}
    return {path: variable for path, variable in by_path.items() if variable is not None}


def update_count(keras_optimizer: Any) -> tuple[int, int]:
    """Return the number of updates, and of micro-batches after the last of them."""
    every_k = keras_optimizer.gradient_accumulation_steps or 1
    return divmod(int(to_array(keras_optimizer._iterations)), every_k)


def variables_by_path(keras_optimizer: Any, model: Any) -> dict[str, Any]:
    """Return the variables that a Keras optimizer trains by path, in its order.

    Args:
        keras_optimizer: a built optimizer.
        model: a Keras model, a mapping of variables by path, or None for their own paths.

    Raises:
        ValueError: the optimizer is not built, has other variables than the model, or two of its
            variables have the same path.
    """
    if not keras_optimizer.built:
        raise ValueError(
            f"{keras_optimizer.name} has no variables yet: call "
            "optimizer.build(model.trainable_variables)"
        )
    trained = keras_optimizer._trainable_variables
    paths = [getattr(v, "path", v.name) for v in trained]
    if model is not None:
        given = model if isinstance(model, Mapping) else model_variables(model)[0]
        by_id = {id(v): path for path, v in given.items()}
        paths = [by_id.get(id(v), path) for v, path in zip(trained, paths, strict=True)]
        check_names(given, paths, "parameters", "the Keras optimizer")
    named = dict(zip(paths, trained, strict=True))
    if len(named) < len(trained):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(f"two variables have the path {twice!r}: name them by model={{...}}")
    return named


def groups(keras_optimizer: Any, named: dict[str, Any]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return the optimizers of a `MultiOptimizer` that have variables, each with its variables."""
    found: dict[str, tuple[Any, dict[str, Any]]] = {}
    for i, optimizer in enumerate(keras_optimizer.optimizers):
        part = {
            path: variable
            for path, variable in named.items()
            if keras_optimizer._var_to_optimizer_idx[keras_optimizer._var_key(variable)] == i
        }
        if part:
            label = f"{optimizer.name}_{i}" if optimizer.name in found else optimizer.name
            found[label] = (optimizer, part)
    return found
