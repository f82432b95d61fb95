"""Conversion of an optimizer state between trainlib and another library.

The other library's state is read into a `SlotTable`: its arrays by slot and by parameter path. A
`FieldSlots` function says which slot each field of a trainlib state corresponds to. `import_state`
converts a slot table to a trainlib state, `export_state` a trainlib state to a slot table.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.core.tree import leaves_by_path
from trainlib.core.types import State, Tensor
from trainlib.optimizers.adafactor import AdafactorState

SlotTable: TypeAlias = dict[str, dict[str, Any]]
"""Arrays by slot and by parameter path; a slot of the whole optimizer has the path "".

None stands for a parameter that a slot does not apply to: `adafactor` factors some of them only.
"""

NESTED = ("inner", "parts")
"""Fields that hold the states of other optimizers."""
KEPT = ("hyperparams", "skipped", "skipped_in_a_row", "P", "beta_1", "rate_max")
"""Fields that keep their value if the other library has no slot for them."""


class Slot(NamedTuple):
    """The counterpart of a field in another library.

    Attributes:
        name: name of the slot; alternatives are separated by "|" and tried in order.
        factor: trainlib's value is the other library's times this factor.
        is_scalar: whether it is one number for the whole optimizer.
    """

    name: str
    factor: float = 1.0
    is_scalar: bool = False


FieldSlots: TypeAlias = Callable[[type], Mapping[str, Slot]]
"""Returns the slots of a type of state, by field."""


def slots(**fields: str) -> dict[str, Slot]:
    """Return slots by field; a name that begins with "-" has the factor -1."""
    return {
        field: Slot(name.removeprefix("-"), -1.0 if name.startswith("-") else 1.0)
        for field, name in fields.items()
    }


def scalar_slots(**fields: str) -> dict[str, Slot]:
    """Return slots of the whole optimizer by field."""
    return {field: Slot(name, is_scalar=True) for field, name in fields.items()}


def import_state(
    like: State, table: SlotTable, field_slots: FieldSlots, step: int, library: str
) -> State:
    """Return the state `like` with the step and with the values of a slot table.

    Raises:
        ValueError: slots, parameters or shapes differ.
    """
    _check(like, table, field_slots, library)

    def visit(owner: Any, field: str, value: Any) -> Any:
        if field == "step":
            return tf.constant(step, tf.int64)
        slot = _slot(owner, field, field_slots, table)
        if slot is None or not tf.nest.flatten(value):
            return value
        if slot.is_scalar:
            return _to_tensor(table[slot.name][""], slot.factor, value)
        leaves = [
            x if used is None else _to_tensor(table[slot.name][path], slot.factor, x)
            for (path, x), used in zip(leaves_by_path(value), _used(owner, field), strict=True)
        ]
        return tf.nest.pack_sequence_as(value, leaves)

    return map_fields(like, visit)


def export_state(state: State, like: SlotTable, field_slots: FieldSlots, library: str) -> SlotTable:
    """Return the slot table `like` with the values of a state, in its shapes and dtypes.

    Raises:
        ValueError: slots, parameters or shapes differ.
    """
    values = _check(state, like, field_slots, library)
    return {name: {**found, **values[name]} for name, found in like.items()}


def slot_table_of(
    state: State, field_slots: FieldSlots, library: str, like: SlotTable | None = None
) -> SlotTable:
    """Return the slot table of a state; alternatives are chosen by the slots of `like`.

    Raises:
        ValueError: a field has no slot, or two states hold the same parameter.
    """
    table: SlotTable = {}

    def visit(owner: Any, field: str, value: Any) -> Any:
        slot = _slot(owner, field, field_slots, like or {})
        if field == "step" or not tf.nest.flatten(value):
            return value
        if slot is None:
            if field not in KEPT:
                raise ValueError(
                    f"{type(owner).__name__}.{field} has no counterpart in {library}: convert the "
                    "state of an optimizer that both have, without the transforms around it"
                )
            return value
        names = [path for path, _ in leaves_by_path(value)]
        entries = table.setdefault(slot.name, {})
        for path, x in zip([""] if slot.is_scalar else names, _used(owner, field), strict=True):
            if path in entries:
                raise ValueError(f"two states hold the parameter {path!r}")
            entries[path] = None if x is None else _to_other(x, slot.factor)
        return value

    map_fields(state, visit)
    return table


def step_of(state: State) -> int:
    """Return the number of updates of a state.

    Raises:
        ValueError: its parts have made different numbers of updates, or count none.
    """
    steps: set[int] = set()

    def visit(owner: Any, field: str, value: Any) -> Any:
        if field == "step":
            steps.add(int(value))
        return value

    map_fields(state, visit)
    if len(steps) != 1:
        raise ValueError(
            f"the parts of this state are at the steps {sorted(steps)}: convert a state whose "
            "parts are at one step"
        )
    return steps.pop()


def known_step(found: Iterable[Any], given: int | None, library: str) -> int:
    """Return the one step among those of another library's state and the caller's.

    Raises:
        ValueError: there are several steps, or none.
    """
    steps = {int(x) for x in found} | ({given} if given is not None else set())
    if len(steps) > 1:
        raise ValueError(
            f"the state of {library} is at different steps: {sorted(steps)}; trainlib has one "
            "step for all parameters"
        )
    if not steps:
        raise ValueError(
            f"this state of {library} does not count its updates: give their number as step=..."
        )
    return steps.pop()


def map_fields(state: State, visit: Callable[[Any, str, Any], Any]) -> State:
    """Return the state with `visit(owner, field, value)` for each field of the states in it."""
    if hasattr(state, "_fields"):
        return type(state)(
            *(
                map_fields(value, visit) if field in NESTED else visit(state, field, value)
                for field, value in zip(state._fields, state, strict=True)
            )
        )
    if isinstance(state, Mapping):
        return {key: map_fields(child, visit) for key, child in state.items()}
    if isinstance(state, tuple):
        return tuple(map_fields(child, visit) for child in state)
    raise TypeError(f"expected the state of a trainlib optimizer, got {state!r}")


def check_names(ours: Iterable[str], others: Iterable[str], kind: str, library: str) -> None:
    """Raise `ValueError` with the difference if two sets of names differ."""
    ours, others = set(ours), set(others)
    if ours == others:
        return
    lines = [
        *_only("trainlib", sorted(ours - others), others, library),
        *_only(library, sorted(others - ours), ours, "trainlib"),
    ]
    raise ValueError(f"the {kind} of trainlib and {library} differ:\n" + "\n".join(lines))


def to_array(x: Any) -> np.ndarray:
    """Return a tensor of any library as a NumPy array."""
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = x.float() if "bfloat16" in str(x.dtype) else x
    return np.asarray(x.numpy() if hasattr(x, "numpy") else x)


def _check(state: State, like: SlotTable, field_slots: FieldSlots, library: str) -> SlotTable:
    """Return the table of a state in the shapes and dtypes of `like`, after comparing names."""
    ours = slot_table_of(state, field_slots, library, like)
    check_names(ours, like, "slots", library)
    check_names(_paths(ours), _paths(like), "parameters", library)
    table: SlotTable = {}
    for name, entries in ours.items():
        others = like[name]
        unused = {path for path, x in entries.items() if x is None}
        kind = f"parameters of {name}"
        check_names(entries.keys() - unused, others.keys() - unused, kind, library)
        table[name] = {
            path: _reshaped(x, others[path], f"{name} of {path or 'all'}", library)
            for path, x in entries.items()
            if x is not None
        }
    return table


def _reshaped(x: np.ndarray, like: np.ndarray, what: str, library: str) -> np.ndarray:
    """Return an array in another's shape and dtype; axes of length 1 may differ."""
    if [n for n in x.shape if n != 1] != [n for n in like.shape if n != 1]:
        raise ValueError(
            f"{what} has shape {list(x.shape)} in trainlib, {list(like.shape)} in {library}"
        )
    return x.reshape(like.shape).astype(like.dtype)


def _only(place: str, names: list[str], others: set[str], other_place: str) -> Iterator[str]:
    """Yield a line for each name that only one side has, with the nearest of the other side."""
    for name in names:
        near = difflib.get_close_matches(name, sorted(others), n=1)
        hint = f" (nearest in {other_place}: {near[0]})" if near else ""
        yield f"  only in {place}: {name}{hint}"


def _paths(table: SlotTable) -> set[str]:
    """Return the parameter paths of a table."""
    return {path for entries in table.values() for path in entries}


def _slot(owner: Any, field: str, field_slots: FieldSlots, like: SlotTable) -> Slot | None:
    """Return the slot of a field, under that of its names that `like` has."""
    slot = field_slots(type(owner)).get(field)
    if slot is None:
        return None
    names = slot.name.split("|")
    return slot._replace(name=next((name for name in names if name in like), names[0]))


def _used(owner: Any, field: str) -> list[Tensor]:
    """Return the leaves of a field, with None for the placeholders of `adafactor`."""
    leaves = tf.nest.flatten(getattr(owner, field))
    if not isinstance(owner, AdafactorState) or field not in ("R", "C", "V"):
        return list(leaves)
    factored = [R.shape.rank > 0 for R in tf.nest.flatten(owner.R)]
    return [x if yes == (field != "V") else None for x, yes in zip(leaves, factored, strict=True)]


def _to_tensor(x: np.ndarray, factor: float, like: Tensor) -> Tensor:
    """Return another library's array as a tensor of the shape and dtype of `like`."""
    x = tf.cast(tf.constant(x.reshape(like.shape.as_list())), like.dtype)
    return x if factor == 1 else x * tf.constant(factor, like.dtype)


def _to_other(x: Tensor, factor: float) -> np.ndarray:
    """Return a tensor as an array of the other library."""
    array = np.asarray(x)
    return array if factor == 1 else np.asarray(array / np.asarray(factor, array.dtype))
