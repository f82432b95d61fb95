"""`TrainingProgress`, the progress of a run, and `Recovery`, which saves and restores it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from trainlib.core.finite import nonfinite_leaf
from trainlib.step.state import MetricStates
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.automatic_names import matching_names
from trainlib.training.callback import Callback, NonFiniteError, Results, RollBack, Stop
from trainlib.training.checkpoints import Checkpoint, TrainingPosition, flatten_with_paths
from trainlib.training.collectives import broadcast_from_chief
from trainlib.training.context import TrainingContext
from trainlib.training.data_adapter import DataAdapter
from trainlib.training.execution import check_xla_is_safe
from trainlib.training.strategies import is_chief, is_multi_worker
from trainlib.transforms.inject import with_hyperparams_of


@dataclasses.dataclass
class TrainingProgress:
    """Progress of a run.

    Attributes:
        first_epoch: number of epochs of earlier calls of `fit`, minus `initial_epoch`; the order of
            examples continues from it.
        epoch: number of the last completed epoch, 0 before the first.
        batch: number of batches trained on in the current epoch.
        global_batch: number of batches trained on since the model was new.
        seconds: seconds of the current epoch that passed in earlier processes.
        metric_states: metric states of the current epoch; None before its first batch.
        history: results of each completed epoch.
        stop: the request that ends the run; None while it continues.
        initial_epoch: number of epochs that this call leaves out.
    """

    first_epoch: int
    global_batch: int
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    metric_states: MetricStates | None = None
    history: tuple[Results, ...] = ()
    stop: Stop | None = None
    initial_epoch: int = 0

    @property
    def position(self) -> TrainingPosition:
        """Position in the run, after which checkpoints are named."""
        return TrainingPosition(self.epoch + 1, self.batch)


class CheckpointStore(Protocol):
    """The methods of `Checkpoints` that `Recovery` uses."""

    def save(
        self, position: TrainingPosition, values: Any, metadata: Any, best: bool = False
    ) -> None: ...

    def wait(self) -> None: ...

    def newest(self, max_batch: int | None = None) -> Checkpoint | None: ...

    def load(self, position: TrainingPosition) -> Checkpoint: ...


class Recovery:
    """Saves the state of a run to checkpoints and restores it.

    Args:
        context: the programs, strategy and execution of the trainer.
        data: the adapter of the training data.
        shuffle: whether arrays are shuffled.
        callbacks: callbacks of the run; their `state`s are saved.
        store: store of the run's checkpoints; None for no checkpoints.
    """

    def __init__(
        self,
        context: TrainingContext,
        data: DataAdapter,
        shuffle: bool,
        callbacks: Sequence[Callback],
        store: CheckpointStore | None,
    ) -> None:
        self._context, self._data, self._shuffle = context, data, shuffle
        self._callbacks, self._store = callbacks, store
        self._resumed: Checkpoint | None = None
        self._rolled_back_to: TrainingPosition | None = None

    def save(self, progress: TrainingProgress, seconds: float, best: bool) -> None:
        """Start to save a checkpoint.

        Args:
            progress: progress of the run.
            seconds: duration of the current epoch so far.
            best: whether it is the best checkpoint so far.

        Raises:
            ValueError: the run has no checkpoints.
        """
        store = self._required("requests a checkpoint")
        if not is_chief(self._context.strategy):
            return
        values = flatten_with_paths("state", self._context.state)
        if progress.metric_states is not None:
            values |= flatten_with_paths("metric_states", progress.metric_states)
        for name, callback in self._stateful_callbacks():
            values |= flatten_with_paths(f"callbacks/{name}", callback.state)
        stop = progress.stop
        metadata = {
            "conditions": self._conditions(),
            "first_epoch": progress.first_epoch,
            "initial_epoch": progress.initial_epoch,
            "global_batch": progress.global_batch,
            "seconds": seconds,
            "history": progress.history,
            "stop": stop.reason if stop is not None and not stop.resumable else None,
            "trainable": self._context.trainable_flags,
        }
        store.save(progress.position, values, metadata, best)

    def resume(self, progress: TrainingProgress) -> TrainingProgress:
        """Restore the newest checkpoint and return its progress; without one, the same progress.

        Raises:
            ValueError: it was made under other conditions, or with another model or optimizer; or
                XLA must not compile the model for this machine.
        """
        found = self._newest()
        if found is None:
            return progress
        metadata = found.metadata
        if not self._context.fixed_execution:
            self._context.execution = metadata["conditions"]["execution"]
            self._context.untuned = False
            if self._context.model is not None:  # another machine may have made the checkpoint
                check_xla_is_safe(self._context.execution, self._context.model.model)
        for name, here in self._conditions().items():
            there = metadata["conditions"].get(name)
            if there != here:
                raise ValueError(
                    f"checkpoint {found.position} was made with {name} {there}, not {here}"
                )
        self._set_flags(metadata.get("trainable"))
        found = self._restore_state(found)
        states = None
        if any(name.startswith("metric_states/") for name in found.values):
            like = self._context.programs.metric_structure(training=True)
            states = found.tree("metric_states", like, check_shapes=False)
        self._resumed = found
        return TrainingProgress(
            first_epoch=metadata["first_epoch"],
            global_batch=metadata["global_batch"],
            epoch=found.position.epoch - 1,
            batch=found.position.batch,
            seconds=metadata["seconds"],
            metric_states=states,
            history=tuple(metadata["history"]),
            stop=None if metadata["stop"] is None else Stop(metadata["stop"]),
            initial_epoch=metadata.get("initial_epoch", 0),
        )

    def _restore_state(self, found: Checkpoint) -> Checkpoint:
        """Restore the state, and return the checkpoint with the names of this model's layers."""
        names = self._other_names(found)
        found = found.renamed(names)
        self._context.state = found.tree("state", self._context.programs.variables)
        if names:
            pairs = ", ".join(f"{old} as {new}" for old, new in names.items())
            warnings.warn(
                f"checkpoint {found.position} has other automatic names of layers, which are taken "
                f"in their order: {pairs}; name the layers to have their names compared",
                stacklevel=2,
            )
        return found

    def _set_flags(self, flags: list[bool] | None) -> None:
        """Set which layers are trainable as at a checkpoint; None, of earlier versions: unchanged.

        Those of a model of other layers are left for the check of the values, which names them.
        """
        here = self._context.trainable_flags
        if flags and here and len(flags) == len(here):
            self._context.trainable_flags = flags

    def _other_names(self, found: Checkpoint) -> dict[str, str]:
        """Return the automatic names of layers in a checkpoint that differ from the model's."""
        model = self._context.model
        if model is None:
            return {}
        here = flatten_with_paths("state", self._context.programs.variables)
        there = (name for name in found.values if name.startswith("state/"))
        return matching_names(there, here, model.automatic_kinds)

    def restore_callbacks(self) -> None:
        """Restore the states of the callbacks from the resumed checkpoint."""
        if self._resumed is None:
            return
        for name, callback in self._stateful_callbacks():
            callback.state = self._resumed.tree(f"callbacks/{name}", callback.state)

    def roll_back(self, progress: TrainingProgress, request: RollBack) -> None:
        """Restore the state of the newest checkpoint whose parameters are finite.

        The batches since then are left out of training and of the results of the epoch.

        Raises:
            ValueError: the run has no checkpoints.
            NonFiniteError: there is no checkpoint except the one that was restored last.
        """
        self._required("requests a roll back").wait()
        found = self._newest_finite(progress.global_batch)
        if found is None or found.position == self._rolled_back_to:
            why = (
                "no checkpoint to roll back to"
                if found is None
                else f"rolling back did not help: {found.position} was restored already"
            )
            raise NonFiniteError(f"{request.reason}; {why}", progress.global_batch)
        now = self._context.trainable_flags
        self._set_flags(found.metadata.get("trainable"))
        found = found.renamed(self._other_names(found))
        state = found.tree("state", self._context.programs.variables)
        # A rate that a callback has reduced since then stays reduced.
        opt_state = with_hyperparams_of(state.opt_state, self._context.state.opt_state)
        state = state._replace(opt_state=opt_state)
        if self._context.programs.config.skips_nonfinite:  # batches left out count as skipped
            skipped = tf.constant(progress.global_batch, tf.int64) - state.step
            state = state._replace(finite_guard=state.finite_guard._replace(skipped=skipped))
        self._context.state = state
        self._set_flags(now)  # layers that were unfrozen after the checkpoint stay unfrozen
        if progress.metric_states is not None:
            progress.metric_states = self._metric_states(found, progress)
        self._rolled_back_to = found.position

    def _metric_states(self, found: Checkpoint, progress: TrainingProgress) -> MetricStates:
        """Return the metric states of the current epoch at a checkpoint, empty before the epoch."""
        states: MetricStates = tf.nest.map_structure(tf.zeros_like, progress.metric_states)
        if found.position.epoch == progress.position.epoch and found.position.batch:
            states = found.tree("metric_states", states)
        return states

    def _required(self, what: str) -> CheckpointStore:
        """Return the store, and raise `ValueError` if there is none."""
        if self._store is None:
            raise ValueError(f"a callback {what}: pass fit(..., checkpoints=folder)")
        return self._store

    def _conditions(self) -> dict[str, Any]:
        """Return the conditions under which a resumed run ends in the same bits."""
        data = self._data
        arrays = data if isinstance(data, ArrayAdapter) else None
        strategy, augmenter = self._context.strategy, self._context.augmenter
        return {
            "data": data.fingerprint if isinstance(data, ArrayAdapter) else data.identity,
            "seed": self._context.seed,
            "batch_size": arrays.batch_size if arrays else None,
            "shuffle": self._shuffle if arrays else None,
            "steps_per_epoch": self._data.batches(),
            "replicas": 1 if strategy is None else strategy.num_replicas_in_sync,
            "execution": self._context.execution,
            "augment": augmenter and augmenter.augmentation.name,
            # None instead of False: it equals the missing entry of an older checkpoint.
            "gradient_checkpointing": self._context.recomputes or None,
        }

    def _stateful_callbacks(self) -> list[tuple[str, Callback]]:
        """Return the callbacks that have a state, each with a unique name."""
        found: dict[str, Callback] = {}
        for callback in self._callbacks:
            if getattr(callback, "state", None) is not None:
                kind = type(callback).__name__
                count = sum(name.partition("-")[0] == kind for name in found)
                found[f"{kind}-{count + 1}" if count else kind] = callback
        return list(found.items())

    def _newest_finite(self, max_batch: int) -> Checkpoint | None:
        """Return the newest checkpoint whose parameters are finite."""
        found = self._newest(max_batch)
        while found is not None:
            params = [x for name, x in found.values.items() if name.startswith("state/params")]
            if nonfinite_leaf(params) is None:
                break
            found = self._newest(found.metadata["global_batch"] - 1)
        return found

    def _newest(self, max_batch: int | None = None) -> Checkpoint | None:
        """Return the newest checkpoint that the first worker can read."""
        store, strategy = self._required("needs one"), self._context.strategy
        found = store.newest(max_batch) if is_chief(strategy) else None
        if not is_multi_worker(strategy):
            return found
        numbers = found.position if found else TrainingPosition(0, 0)
        position = TrainingPosition(
            *(int(broadcast_from_chief(strategy, number)) for number in numbers)
        )
        return store.load(position) if found is None and position.epoch else found
