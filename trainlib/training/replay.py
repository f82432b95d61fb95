"""A step once more, to look into it: the range of every tensor that it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.tree import leaves_by_path
from trainlib.core.types import Tensor, Tree
from trainlib.step.state import Batch, Observer, TrainState
from trainlib.training.callback import Stop
from trainlib.training.checkpoints import Checkpoint
from trainlib.training.input_pipeline import Chunk
from trainlib.training.loop import Run
from trainlib.training.replicas import is_multi_worker

if TYPE_CHECKING:
    from trainlib.training.trainer import Trainer


class Range(NamedTuple):
    """The values of a tensor.

    name: its part of the step and its path there, such as "gradient hidden/kernel". lowest,
    highest, mean: of its finite elements, the mean of their absolute values; NaN where there are
    none. nans, infs: how many of its elements are that.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    lowest: float
    highest: float
    mean: float
    nans: int
    infs: int

    @property
    def finite(self) -> bool:
        """Whether all the elements are."""
        return self.nans + self.infs == 0


def range_of(name: str, x: Any) -> Range:
    """The range of a tensor of any floating dtype."""
    values = np.asarray(x)
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    some = finite.size > 0
    return Range(
        name,
        tf.dtypes.as_dtype(values.dtype).name,
        values.shape,
        float(finite.min()) if some else np.nan,
        float(finite.max()) if some else np.nan,
        float(np.abs(finite).mean()) if some else np.nan,
        int(np.isnan(wide).sum()),
        int(np.isinf(wide).sum()),
    )


def replay(
    make_step: Callable[[Observer], Callable[..., Any]],
    state: TrainState,
    batch: Batch,
    last: bool = False,
) -> list[Range]:
    """The ranges of all floating tensors of a step, in the order in which they are computed.

    First the batch and the state, then each intermediate tensor, forward and backward, among them
    by name the loss, the gradients and the updates, at last the new state. The step is made as a
    graph, and once; the state stays. What is inside a loop of the model's own is seen from outside
    of it alone.

    Args:
        make_step: makes a step of what is to observer it: `lambda observer: tl.train_step(...,
            observer=observer)`.
        state: before the step.
        batch: of the step.
        last: as the step takes it.
    """
    arguments = [tf.convert_to_tensor(x) for x in tf.nest.flatten((state, batch))]
    told: list[tuple[str, Tensor]] = []

    def traced(*values: Tensor) -> Tree:
        given = tf.nest.pack_sequence_as((state, batch), values)
        new_state, _ = make_step(lambda part, tree: told.extend(_named(part, tree)))(
            *given, tf.constant(last)
        )
        told.extend(_named("new", new_state))
        return [x for _, x in told]

    specs = [tf.TensorSpec(x.shape, x.dtype) for x in arguments]
    function = tf.compat.v1.wrap_function(traced, specs)
    inputs = function.inputs[: len(arguments)]
    batch_first = [*_named("batch", batch), *_named("state", state)]
    given = {x.ref() for x in inputs}
    computed = _computed(function.graph, given, told)
    fetched = function.prune(inputs, [x for _, x in computed])(*arguments)
    values = zip((name for name, _ in computed), fetched, strict=True)
    return [range_of(name, x.numpy()) for name, x in (*batch_first, *values)]


def first_nonfinite(ranges: Sequence[Range]) -> Range | None:
    """The first of which an element is infinite or NaN; None where none has one."""
    return next((x for x in ranges if not x.finite), None)


def table(ranges: Sequence[Range]) -> str:
    """The ranges as a table, the first that is not finite marked, and named in a last line."""
    bad = first_nonfinite(ranges)
    head = ("", "tensor", "dtype", "shape", "min", "max", "mean |x|", "NaN", "inf")
    rows = [head] + [
        (
            ">" if x is bad else "",
            x.name,
            x.dtype,
            "x".join(map(str, x.shape)) or "-",
            *(f"{number:.4g}" for number in (x.lowest, x.highest, x.mean)),
            str(x.nans),
            str(x.infs),
        )
        for x in ranges
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 4 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    what = "none: all are finite" if bad is None else f"{bad.name}, {bad.nans} NaN, {bad.infs} inf"
    return "\n".join([*lines, f"the first tensor that is not finite: {what}"])


class StepBefore(NamedTuple):
    """What a step is made of. last: whether it ends an epoch. place: which step, in words."""

    state: TrainState
    batch: Batch
    last: bool
    place: str


class RunTo(Run):
    """A run up to a step, which it leaves unmade; it writes nothing.

    found: the step.

    Args:
        number: the step's, counted over the whole run from 1.
        arguments: of a `Run`.
    """

    def __init__(self, number: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.number = number
        self.found: StepBefore | None = None

    def _train_chunk(self, chunk: Chunk) -> None:
        before = self.number - 1 - self.batches
        at = chunk.start + before * chunk.rows
        if at >= chunk.stop:
            super()._train_chunk(chunk)
            return
        if before:
            super()._train_chunk(chunk._replace(stop=at, last=False))
        if self.stop is not None:
            return
        rows = slice(at, at + chunk.rows)
        of = "" if self.steps is None else f" of {self.steps:,}"
        self.found = StepBefore(
            self.trainer.state,
            tf.nest.map_structure(lambda a: a[rows], chunk.examples),
            chunk.last and at + chunk.rows == chunk.stop,
            f"step {self.number}: batch {self.batch + 1:,}{of} in epoch {self.epoch + 1}",
        )
        self.stop = Stop(f"before step {self.number}", resumable=True)

    def _save(self, best: bool) -> None:
        """Nothing: what asks for a checkpoint has asked for it already, in the run itself."""

    def _newest(self) -> Checkpoint | None:
        """The newest of those made before the step."""
        if self.checkpoints is None:
            return None
        behind = self.batches if self.batches else self.number - 1
        for place in reversed(self.checkpoints.places()):
            try:
                found = self.checkpoints.load(place)
            except (OSError, ValueError, KeyError):
                continue
            if found.about["batches"] <= behind:
                return found
        return None


def replay_found(trainer: Trainer, found: StepBefore) -> list[Range]:
    """The ranges of the tensors in a step of a run; as of `replay`.

    With replicas the step is made on one device, over the whole batch: random draws of each
    replica's own, as in dropout, are others then.
    """
    return replay(
        lambda observer: trainer.programs.whole_step(observer=observer),
        found.state,
        found.batch,
        found.last,
    )


def step_before(trainer: Trainer, number: int, data: Any, **options: Any) -> StepBefore:
    """Trains from the newest checkpoint before a step, or from the beginning, up to that step.

    Args:
        trainer: new, as of the run.
        number: the step's, counted over the whole run from 1.
        data: of the run.
        options: those of the run's `fit`, its checkpoints and callbacks among them; these are
            told what they were told then, but nothing is saved.

    Raises:
        ValueError: the run ends before that step; there are several workers.
    """
    check_integer("replay_step", number, at_least=1)
    if is_multi_worker(trainer.strategy):
        raise ValueError("replay_step is for one process, not for several workers")
    run: Any = trainer.run_of(lambda *arguments: RunTo(number, *arguments), data, **options)
    if run.checkpoints is not None:
        run.resume()
    run.go(run.chunks())
    if run.found is None:
        why = f": {run.stop.reason}" if run.stop is not None and run.stop.reason else ""
        raise ValueError(f"replay_step {number}: the run ends after {run.batches} steps{why}")
    found: StepBefore = run.found
    return found


def _named(part: str, tree: Tree) -> list[tuple[str, Tensor]]:
    """The floating tensors of a structure with their names; a leaf of None has none."""
    return [
        (f"{part} {path}".rstrip(), x)
        for path, x in leaves_by_path(tree)
        if x is not None and tf.as_dtype(x.dtype).is_floating
    ]


def _computed(
    graph: Any, given: set[Any], told: Sequence[tuple[str, Tensor]]
) -> list[tuple[str, Tensor]]:
    """What a graph computes, in its order, by the names told or by those of its operations.

    These stand behind the part of the step: forward up to the loss, backward up to the gradients.
    """
    names: dict[Any, str] = {}
    for name, x in told:
        names.setdefault(x.ref(), name)
    parts = {"forward": "loss", "backward": "gradient"}
    to_come = {
        part: sum(name.startswith(end) for name in names.values()) for part, end in parts.items()
    }
    found = []
    for operation in graph.get_operations():
        if operation.type in ("Const", "Placeholder"):
            continue
        for x in operation.outputs:
            if not x.dtype.is_floating or x.ref() in given:
                continue
            part = next((part for part in parts if to_come[part]), "update")
            own = x.name.removesuffix(":0").removeprefix("gradient_tape/")
            name = names.get(x.ref(), f"{part} {own}")
            found.append((name, x))
            for of, end in parts.items():
                to_come[of] -= name.startswith(end)
    return found
