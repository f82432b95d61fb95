"""PyTorch: `state_from_torch` and `state_to_torch`.

The state dicts of `torch.optim` number the parameters by their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainlib.core.types import Optimizer, State, Tree
from trainlib.interop.slot_table import (
    Slot,
    SlotTable,
    check_names,
    import_state,
    known_step,
    scalar_slots,
    slot_table_of,
    slots,
    step_of,
    to_array,
)
from trainlib.optimizers.adadelta import AdadeltaState
from trainlib.optimizers.adafactor import AdafactorState
from trainlib.optimizers.adagrad import AdagradState
from trainlib.optimizers.adam import AdamState
from trainlib.optimizers.adamax import AdamaxState
from trainlib.optimizers.muon import MomentumState
from trainlib.optimizers.nadam import NadamState
from trainlib.optimizers.radam import RadamState
from trainlib.optimizers.rmsprop import RmspropState
from trainlib.optimizers.rprop import RpropState
from trainlib.optimizers.sgd import SgdState
from trainlib.transforms.states import has_state

LIBRARY = "PyTorch"
MEANS = slots(m="exp_avg", v="exp_avg_sq")
SLOTS: dict[type, dict[str, Slot]] = {
    SgdState: slots(v="-momentum_buffer"),
    AdagradState: slots(s="sum"),
    AdadeltaState: slots(a="square_avg", d="acc_delta"),
    RmspropState: slots(s="square_avg", a="grad_avg", v="-momentum_buffer"),
    AdamState: MEANS | slots(v_max="max_exp_avg_sq"),
    AdamaxState: slots(m="exp_avg", u="exp_inf"),
    NadamState: MEANS | scalar_slots(P="mu_product"),
    RadamState: MEANS,
    RpropState: slots(delta="step_size", u="-prev"),
    AdafactorState: slots(R="row_var", C="col_var", V="variance"),
    MomentumState: slots(M="momentum_buffer"),
}
"""The counterparts of the fields of each state."""
UNCOUNTED = (SgdState, MomentumState)
"""States of the optimizers whose steps PyTorch does not count: SGD and Muon."""


def state_from_torch(
    state_dict: Mapping[str, Any],
    optimizer: Optimizer,
    params: Tree,
    names: Sequence[str] | None = None,
    step: int | None = None,
) -> State:
    """Return the state dict of a `torch.optim` optimizer as the state of a trainlib optimizer.

    Hyperparameters are not converted: build the trainlib optimizer with the same ones, in
    PyTorch's convention. A state dict does not name its optimizer, and some have the same slots:
    give the right one. SGD, Adagrad, Adadelta, RMSprop, Adam, AdamW, Adamax, NAdam, RAdam, Rprop,
    Adafactor and Muon can be converted.

    Args:
        state_dict: state dict of the optimizer, with arrays of PyTorch or NumPy.
        optimizer: the trainlib optimizer that continues.
        params: its parameters, in the layouts of PyTorch's: nothing is transposed.
        names: paths of the parameters, in the order in which PyTorch's optimizer was given them.
            Default: None, the names in the state dict.
        step: number of updates, if the state dict does not hold it (SGD, Muon). Default: None.

    Returns:
        A state of `optimizer`.

    Raises:
        ValueError: parameters, slots or shapes differ, with the difference in the message; the
            parameters are at different steps; or the number of updates is not known.

    Example:
        >>> state_dict = {
        ...     "state": {0: {"momentum_buffer": np.float32([1, 2])}},
        ...     "param_groups": [{"params": [0]}],
        ... }
        >>> tx, params = tl.sgd(0.1, momentum=0.9, convention="torch"), {"w": tf.zeros([2])}
        >>> state = tl.interop.state_from_torch(state_dict, tx, params, names=["w"], step=5)
        >>> int(state.step)
        5
    """
    table, steps = _read(state_dict, _indices(state_dict, names))
    like = optimizer.init(params)
    return import_state(like, table, _field_slots, known_step(steps, step, LIBRARY), LIBRARY)


def state_to_torch(
    state: State, state_dict: Mapping[str, Any], names: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return a trainlib state as a state dict for `torch_optimizer.load_state_dict`.

    Args:
        state: state of a trainlib optimizer.
        state_dict: state dict of the PyTorch optimizer that continues, which supplies
            hyperparameters and order. It may be at step 0.
        names: as in `state_from_torch`. Default: None.

    Returns:
        A state dict with tensors of PyTorch.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: parameters, slots or shapes differ, with the difference in the message.

    Example:
        With PyTorch installed (`>>>` is omitted: it is optional)::

            state_dict = tl.interop.state_to_torch(state, torch_optimizer.state_dict(), names)
            torch_optimizer.load_state_dict(state_dict)
    """
    import torch

    indices = _indices(state_dict, names)
    ours = slot_table_of(state, _field_slots, LIBRARY)
    others, _ = _read(state_dict, indices)
    paths = {path for entries in ours.values() for path in entries} - {""}
    if ours:
        check_names(paths, indices, "parameters", LIBRARY)
    if others:
        check_names(ours, others, "slots", LIBRARY)
    step, is_uncounted = step_of(state), _is_uncounted(state)
    if is_uncounted and step == 0:  # PyTorch takes an existing momentum for one that has begun.
        return {"state": {}, "param_groups": state_dict["param_groups"]}
    entries: dict[int, dict[str, Any]] = {
        index: {} if is_uncounted else {"step": torch.tensor(float(step))}
        for index in indices.values()
    }
    for slot, found in ours.items():
        for path, index in indices.items():
            x = found.get(path, found.get(""))
            if x is None:
                continue
            other = others.get(slot, {}).get(path)
            shape = x.shape if other is None else other.shape
            if x.shape != shape:
                raise ValueError(
                    f"{slot} of {path} has shape {list(x.shape)} in trainlib, {list(shape)} in "
                    f"{LIBRARY}"
                )
            dtype = torch.get_default_dtype() if "" in found else None
            entries[index][slot] = torch.tensor(x, dtype=dtype)
    return {"state": entries, "param_groups": state_dict["param_groups"]}


def _field_slots(kind: type) -> dict[str, Slot]:
    """Return the slots of a type of state."""
    return SLOTS.get(kind, {})


def _indices(state_dict: Mapping[str, Any], names: Sequence[str] | None) -> dict[str, int]:
    """Return PyTorch's index of each parameter by name."""
    groups = state_dict["param_groups"]
    indices = [index for group in groups for index in group["params"]]
    if names is None:
        if not all("param_names" in group for group in groups):
            raise ValueError(
                "this state dict of PyTorch has no names: give the parameters' paths as "
                "names=[...], in the order in which PyTorch's optimizer was given them"
            )
        names = [name for group in groups for name in group["param_names"]]
    if len(names) != len(indices) or len(set(names)) != len(names):
        raise ValueError(
            f"names must be {len(indices)} distinct names, one for each of PyTorch's parameters, "
            f"got {len(names)}: {list(names)}"
        )
    return dict(zip(names, indices, strict=True))


def _read(state_dict: Mapping[str, Any], indices: Mapping[str, int]) -> tuple[SlotTable, list[Any]]:
    """Return the slot table of a state dict, and the steps of its parameters."""
    table: SlotTable = {}
    steps = []
    for path, index in indices.items():
        entry = state_dict["state"].get(index, {})
        entry = {slot: to_array(x) for slot, x in entry.items() if x is not None}
        if "step" in entry:
            steps.append(entry.pop("step"))
        if "prev" in entry:
            entry["prev"] = np.sign(entry["prev"]) * entry["step_size"]
        for slot, x in entry.items():
            is_scalar = slot == "mu_product"
            table.setdefault(slot, {})["" if is_scalar else path] = x
    return table, steps


def _is_uncounted(state: State) -> bool:
    """Return whether PyTorch does not count the steps of this state's optimizer."""
    return any(has_state(state, kind) for kind in UNCOUNTED)
