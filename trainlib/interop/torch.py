"""PyTorch: the state dicts of `torch.optim`, which number the parameters by their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainlib.core.types import Optimizer, State, Tree
from trainlib.interop.carry import (
    Slot,
    SlotTable,
    book_of,
    check_names,
    import_state,
    known_step,
    scalar_slots,
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
from trainlib.transforms.states import find_states

LIBRARY = "PyTorch"
MEANS = slots(m="exp_avg", v="exp_avg_sq")
TABLE: dict[type, dict[str, Slot]] = {
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
"""Where our fields are. SGD and Muon count no steps."""
UNCOUNTED = (SgdState, MomentumState)


def from_torch(
    state_dict: Mapping[str, Any],
    optimizer: Optimizer,
    params: Tree,
    names: Sequence[str] | None = None,
    step: int | None = None,
) -> State:
    """The state of a `torch.optim` optimizer as that of ours, by parameter name.

        tx = tl.adam(1e-3, convention="torch")
        state = tl.interop.from_torch(torch_optimizer.state_dict(), tx, params, names)

    A state dict does not name its rule, and some have the same slots: give the right one.
    The hyperparameters are not carried: give ours those of PyTorch's, in its convention. For
    SGD, Adagrad, Adadelta, RMSprop, Adam, AdamW, Adamax, NAdam, RAdam, Rprop, Adafactor and Muon.

    Args:
        state_dict: of the optimizer; its arrays may be of PyTorch or of NumPy.
        optimizer: ours that goes on.
        params: our parameters, in the layouts that PyTorch's have: nothing is transposed.
        names: the paths of our parameters in the order in which PyTorch's optimizer was given
            them; by default the names that it was given them under.
        step: the number of updates made, where the state dict does not hold it: of SGD and Muon.

    Raises:
        ValueError: other parameters, slots or shapes than ours, with the difference; parameters
            that have made different numbers of updates, or a state that does not say how many.
    """
    book, steps = _read(state_dict, _ids(state_dict, names))
    like = optimizer.init(params)
    return import_state(like, book, _slots_of, known_step(steps, step, LIBRARY), LIBRARY)


def to_torch(
    state: State, state_dict: Mapping[str, Any], names: Sequence[str] | None = None
) -> dict[str, Any]:
    """A state of ours as a state dict for `torch_optimizer.load_state_dict`.

        torch_optimizer.load_state_dict(
            tl.interop.to_torch(state, torch_optimizer.state_dict(), names)
        )

    Args:
        state: of our rule.
        state_dict: of the optimizer that goes on, from which hyperparameters and order are taken.
            It may have made no update yet.
        names: as in `from_torch`.

    Raises:
        ValueError: other parameters, slots or shapes, with the difference.
        ImportError: PyTorch is not installed.
    """
    import torch

    ids = _ids(state_dict, names)
    ours = book_of(state, _slots_of, LIBRARY)
    theirs, _ = _read(state_dict, ids)
    paths = {path for entries in ours.values() for path in entries} - {""}
    if ours:
        check_names(paths, ids, "parameters", LIBRARY)
    if theirs:
        check_names(ours, theirs, "slots", LIBRARY)
    step, is_uncounted = step_of(state), _is_uncounted(state)
    if is_uncounted and step == 0:  # To PyTorch a momentum that is there is one that has begun.
        return {"state": {}, "param_groups": state_dict["param_groups"]}
    entries: dict[int, dict[str, Any]] = {
        index: {} if is_uncounted else {"step": torch.tensor(float(step))} for index in ids.values()
    }
    for slot, found in ours.items():
        for path, index in ids.items():
            x = found.get(path, found.get(""))
            if x is None:
                continue
            other = theirs.get(slot, {}).get(path)
            there = x.shape if other is None else other.shape
            if x.shape != there:
                raise ValueError(
                    f"{slot} of {path} is {list(x.shape)} here, {list(there)} in {LIBRARY}"
                )
            dtype = torch.get_default_dtype() if "" in found else None
            entries[index][slot] = torch.tensor(x, dtype=dtype)
    return {"state": entries, "param_groups": state_dict["param_groups"]}


def _slots_of(kind: type) -> dict[str, Slot]:
    return TABLE.get(kind, {})


def _ids(state_dict: Mapping[str, Any], names: Sequence[str] | None) -> dict[str, int]:
    """PyTorch's number of each parameter, by name."""
    groups = state_dict["param_groups"]
    ids = [index for group in groups for index in group["params"]]
    if names is None:
        if not all("param_names" in group for group in groups):
            raise ValueError(
                "this state dict of PyTorch has no names: give them in the order in which its "
                "optimizer was given the parameters, as names=[...]"
            )
        names = [name for group in groups for name in group["param_names"]]
    if len(names) != len(ids) or len(set(names)) != len(names):
        raise ValueError(
            f"names must be {len(ids)} different ones, one for each of PyTorch's parameters, got "
            f"{len(names)}: {list(names)}"
        )
    return dict(zip(names, ids, strict=True))


def _read(state_dict: Mapping[str, Any], ids: Mapping[str, int]) -> tuple[SlotTable, list[Any]]:
    """The book of a state dict, and the steps of its parameters."""
    book: SlotTable = {}
    steps = []
    for path, index in ids.items():
        entry = state_dict["state"].get(index, {})
        entry = {slot: to_array(x) for slot, x in entry.items() if x is not None}
        if "step" in entry:
            steps.append(entry.pop("step"))
        if "prev" in entry:
            entry["prev"] = np.sign(entry["prev"]) * entry["step_size"]
        for slot, x in entry.items():
            whole = slot == "mu_product"
            book.setdefault(slot, {})["" if whole else path] = x
    return book, steps


def _is_uncounted(state: State) -> bool:
    """Whether a state is one of a rule whose steps PyTorch does not count."""
    return any(True for kind in UNCOUNTED for _ in find_states(state, kind))
