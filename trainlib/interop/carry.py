"""What carries a state between trainlib and any other library: slots, names, shapes, differences.

A library's state is read into a book, its arrays by slot and by parameter. A table says which slot
each field of our states is. `import_state` reads a book into one of our states,
`export_state` writes one of ours into a book like theirs.
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
"""Arrays by slot and by the parameter's path; a slot of the whole optimizer has the path "".

None stands for a parameter that the slot is not for, of ours one that `adafactor` does not factor.
"""

NESTED = ("inner", "parts")
"""Fields that hold the states of other optimizers."""
KEPT = ("hyperparams", "skipped", "skipped_in_a_row", "P", "beta_1", "rate_max")
"""Fields that keep the value that they have where the other library has no slot for them."""


class Slot(NamedTuple):
    """Where a field of ours is in another library.

    name: of the slot there; several that may be it, in the order of trial, are divided by "|".
    factor: ours is theirs times it. is_scalar: whether it is one number of the whole optimizer.
    """

    name: str
    factor: float = 1.0
    is_scalar: bool = False


Table: TypeAlias = Callable[[type], Mapping[str, Slot]]
"""The slots of a kind of state, by field."""


def slots(**fields: str) -> dict[str, Slot]:
    """Slots by field; a name that begins with "-" is one of the opposite sign."""
    return {
        field: Slot(name.removeprefix("-"), -1.0 if name.startswith("-") else 1.0)
        for field, name in fields.items()
    }


def scalar_slots(**fields: str) -> dict[str, Slot]:
    """Slots of the whole optimizer by field."""
    return {field: Slot(name, is_scalar=True) for field, name in fields.items()}


def import_state(like: State, theirs: SlotTable, table: Table, step: int, library: str) -> State:
    """The state `like` with the values of a book and the step.

    Raises:
        ValueError: other slots, other parameters or other shapes.
    """
    _check(like, theirs, table, library)

    def visit(owner: Any, field: str, value: Any) -> Any:
        if field == "step":
            return tf.constant(step, tf.int64)
        slot = _slot(owner, field, table, theirs)
        if slot is None or not tf.nest.flatten(value):
            return value
        if slot.is_scalar:
            return _tensor(theirs[slot.name][""], slot.factor, value)
        leaves = [
            x if used is None else _tensor(theirs[slot.name][path], slot.factor, x)
            for (path, x), used in zip(leaves_by_path(value), _used(owner, field), strict=True)
        ]
        return tf.nest.pack_sequence_as(value, leaves)

    return rebuild(like, visit)


def export_state(state: State, theirs: SlotTable, table: Table, library: str) -> SlotTable:
    """A book like theirs with the values of our state, in the shapes and dtypes that it has there.

    Raises:
        ValueError: other slots, other parameters or other shapes.
    """
    ours = _check(state, theirs, table, library)
    return {name: {**found, **ours[name]} for name, found in theirs.items()}


def book_of(state: State, table: Table, library: str, theirs: SlotTable | None = None) -> SlotTable:
    """The book of our state, in the slots that `theirs` has where there are several."""
    book: SlotTable = {}

    def visit(owner: Any, field: str, value: Any) -> Any:
        slot = _slot(owner, field, table, theirs or {})
        if field == "step" or not tf.nest.flatten(value):
            return value
        if slot is None:
            if field not in KEPT:
                raise ValueError(
                    f"{type(owner).__name__}.{field} has no counterpart in {library}: carry the "
                    "state of a rule that both have, without what is around it"
                )
            return value
        names = [path for path, _ in leaves_by_path(value)]
        entries = book.setdefault(slot.name, {})
        for path, x in zip([""] if slot.is_scalar else names, _used(owner, field), strict=True):
            if path in entries:
                raise ValueError(f"two of our states hold the parameter {path!r}")
            entries[path] = None if x is None else _divided(x, slot.factor)
        return value

    rebuild(state, visit)
    return book


def step_of(state: State) -> int:
    """The number of updates that a state has made.

    Raises:
        ValueError: its parts have made different numbers.
    """
    steps: set[int] = set()

    def visit(owner: Any, field: str, value: Any) -> Any:
        if field == "step":
            steps.add(int(value))
        return value

    rebuild(state, visit)
    if len(steps) != 1:
        raise ValueError(f"a state is carried at one step, this one is at {sorted(steps)}")
    return steps.pop()


def known_step(found: Iterable[Any], given: int | None, library: str) -> int:
    """The one step of the counts found in another library's state, or what the caller gives.

    Raises:
        ValueError: there are several steps, or none.
    """
    steps = {int(x) for x in found} | ({given} if given is not None else set())
    if len(steps) > 1:
        raise ValueError(
            f"the state of {library} is at different steps: {sorted(steps)}; ours has one step for "
            "all parameters"
        )
    if not steps:
        raise ValueError(
            f"this state of {library} does not count its updates: give their number as step=..."
        )
    return steps.pop()


def rebuild(state: State, visit: Callable[[Any, str, Any], Any]) -> State:
    """The state with `visit(owner, field, value)` for every field of the states in it."""
    if hasattr(state, "_fields"):
        return type(state)(
            *(
                rebuild(value, visit) if field in NESTED else visit(state, field, value)
                for field, value in zip(state._fields, state, strict=True)
            )
        )
    if isinstance(state, Mapping):
        return {key: rebuild(child, visit) for key, child in state.items()}
    if isinstance(state, tuple):
        return tuple(rebuild(child, visit) for child in state)
    raise TypeError(f"expected a state of one of trainlib's optimizers, got {state!r}")


def check_names(ours: Iterable[str], theirs: Iterable[str], kind: str, library: str) -> None:
    """Raises `ValueError` with the difference where two sets of names differ."""
    ours, theirs = set(ours), set(theirs)
    if ours == theirs:
        return
    lines = [
        *_only("here", sorted(ours - theirs), theirs),
        *_only(f"in {library}", sorted(theirs - ours), ours),
    ]
    raise ValueError(f"the {kind} here and in {library} differ:\n" + "\n".join(lines))


def to_array(x: Any) -> np.ndarray:
    """An array of a tensor of any library."""
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = x.float() if "bfloat16" in str(x.dtype) else x
    return np.asarray(x.numpy() if hasattr(x, "numpy") else x)


def _check(state: State, theirs: SlotTable, table: Table, library: str) -> SlotTable:
    """Our book, its arrays in their shapes and dtypes, if it has the slots and names of theirs."""
    ours = book_of(state, table, library, theirs)
    check_names(ours, theirs, "slots", library)
    check_names(_names(ours), _names(theirs), "parameters", library)
    book: SlotTable = {}
    for name, entries in ours.items():
        others = theirs[name]
        unused = {path for path, x in entries.items() if x is None}
        kind = f"parameters of {name}"
        check_names(entries.keys() - unused, others.keys() - unused, kind, library)
        book[name] = {
            path: _like(x, others[path], f"{name} of {path or 'all'}", library)
            for path, x in entries.items()
            if x is not None
        }
    return book


def _like(x: np.ndarray, other: np.ndarray, what: str, library: str) -> np.ndarray:
    """The array in the shape and the dtype of the other; axes of length 1 may come and go."""
    if [n for n in x.shape if n != 1] != [n for n in other.shape if n != 1]:
        raise ValueError(f"{what} is {list(x.shape)} here, {list(other.shape)} in {library}")
    return x.reshape(other.shape).astype(other.dtype)


def _only(place: str, names: list[str], others: set[str]) -> Iterator[str]:
    for name in names:
        near = difflib.get_close_matches(name, sorted(others), n=1)
        yield f"  only {place}: {name}" + (f" (nearest there: {near[0]})" if near else "")


def _names(book: SlotTable) -> set[str]:
    return {path for entries in book.values() for path in entries}


def _slot(owner: Any, field: str, table: Table, theirs: SlotTable) -> Slot | None:
    """The slot of a field, by the one of its names that the other side has."""
    slot = table(type(owner)).get(field)
    if slot is None:
        return None
    names = slot.name.split("|")
    return slot._replace(name=next((name for name in names if name in theirs), names[0]))


def _used(owner: Any, field: str) -> list[Tensor]:
    """The leaves of a field, None for the placeholders that `adafactor` keeps."""
    leaves = tf.nest.flatten(getattr(owner, field))
    if not isinstance(owner, AdafactorState) or field not in ("R", "C", "V"):
        return list(leaves)
    factored = [R.shape.rank > 0 for R in tf.nest.flatten(owner.R)]
    return [x if yes == (field != "V") else None for x, yes in zip(leaves, factored, strict=True)]


def _tensor(x: np.ndarray, factor: float, like: Tensor) -> Tensor:
    """Theirs as ours: times the factor, in the shape and the dtype of a tensor of ours."""
    x = tf.cast(tf.constant(x.reshape(like.shape.as_list())), like.dtype)
    return x if factor == 1 else x * tf.constant(factor, like.dtype)


def _divided(x: Tensor, factor: float) -> np.ndarray:
    """Ours as theirs."""
    array = np.asarray(x)
    return array if factor == 1 else np.asarray(array / np.asarray(factor, array.dtype))
