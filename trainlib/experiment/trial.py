"""`run_trial`: an experiment in memory, without a folder, a report and a log."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainlib.callbacks import Callback
from trainlib.core.types import State
from trainlib.experiment.average_config import NONE
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.model_building import Models
from trainlib.experiment.preparation import (
    LastStatus,
    calibrated,
    evaluate_parts,
    prepare_run,
)
from trainlib.experiment.programs_key import programs_key
from trainlib.experiment.result import Session
from trainlib.experiment.task import Task, held_out
from trainlib.experiment.task_building import build_task
from trainlib.experiment.user_functions import custom_objects
from trainlib.step.state import TrainState
from trainlib.training.adapted_layers import set_weights
from trainlib.training.callback import Results, Stop
from trainlib.training.cluster import cluster
from trainlib.training.model_variables import SEED_STATE
from trainlib.training.pool import SharedPrograms, TrainerPool
from trainlib.transforms.inject import InjectState
from trainlib.transforms.states import find_states, map_states


class TrialResult(NamedTuple):
    """Result of a trial. It can be pickled: instead of a Keras model it has its architecture.

    Attributes:
        config: the configuration, with "auto" resolved: learning rate, execution, norms.
        history: results of each epoch, a dict each.
        stop: the request that ended training before its last epoch; None if none did.
        train: loss and metrics of the final model on the training part; None if training was
            stopped to be resumed.
        validation: loss and metrics on the validation part; None if there is none.
        test: loss and metrics on the test part; None if there is none.
        weights: the weights of the model, in the order of `model.get_weights()`.
        architecture: the model without its weights, as `keras.saving.serialize_keras_object`
            returns it.
        seconds: seconds of training, without evaluation of the parts.
    """

    config: ExperimentConfig
    history: list[Results]
    stop: Stop | None
    train: Results | None
    validation: Results | None
    test: Results | None
    weights: list[np.ndarray]
    architecture: dict[str, Any]
    seconds: float

    def build_model(self) -> Any:
        """Return a new Keras model with the weights of the trial.

        Raises:
            ValueError: a custom module of the configuration cannot be imported.
        """
        model = keras.saving.deserialize_keras_object(
            copy.deepcopy(self.architecture),  # Keras writes into it
            custom_objects(self.config),
            safe_mode=False,
        )
        set_weights(model, self.weights)
        return model


class Start(NamedTuple):
    """The model and the training state from which a trial continues.

    Attributes:
        model: a Keras model to train further; None for a new model.
        state: leaves of the training state, without the model's values. Default: None, a new state.
        epoch: number of epochs trained before; the epochs of the configuration include them.
            Default: 0.
    """

    model: Any
    state: Sequence[np.ndarray] | None = None
    epoch: int = 0

    def restored(self, new: TrainState) -> TrainState:
        """Return a new training state with the optimizer's state and the counters of this start.

        Args:
            new: the state of a new trainer, before its first step.

        Raises:
            ValueError: the state is that of another optimizer.
        """
        if self.state is None:
            return new
        kept = without_values(new)
        if [x.shape for x in self.state] != [tuple(x.shape) for x in tf.nest.flatten(kept)]:
            raise ValueError("the state to continue from is that of another optimizer")
        old: TrainState = tf.nest.pack_sequence_as(kept, list(self.state))
        return old._replace(
            params=new.params,
            model_state={**new.model_state, **old.model_state},
            opt_state=_with_hyperparams_of(new.opt_state, old.opt_state),
        )


def _with_hyperparams_of(new: State, old: State) -> State:
    """Return the old state of an optimizer with new hyperparameters, except the learning rate."""
    others = iter(find_states(new, InjectState))

    def change(found: InjectState) -> InjectState:
        kept = {k: x for k, x in found.hyperparams.items() if k == "learning_rate"}
        return found._replace(hyperparams={**next(others).hyperparams, **kept})

    return map_states(change, old, InjectState)


def without_values(state: TrainState) -> TrainState:
    """Return a training state without the model's values, except the states of its generators."""
    generators = {k: x for k, x in state.model_state.items() if k.startswith(SEED_STATE)}
    return state._replace(params=(), model_state=generators)


def run_trial(
    config: ExperimentConfig,
    task: Task | None = None,
    *,
    pool: TrainerPool | None = None,
    callbacks: Sequence[Callback] = (),
    start: Start | None = None,
) -> TrialResult:
    """Run an experiment in memory; `tl.run_experiment` runs it in a folder.

    Settings for files of a run folder are ignored: checkpoints, the report, TensorBoard.

    Args:
        config: the experiment.
        task: data of the experiment in parts, such as those of a fold. Default: None, loaded as
            configured.
        pool: pool of compiled programs, shared by trials that differ only in numbers. Default:
            None, the programs are not shared.
        callbacks: callbacks called before those of the configuration. Default: none.
        start: model and state from which the trial continues. Default: None, a new model.

    Returns:
        A `TrialResult`.

    Raises:
        ValueError, TypeError, OSError: something that the configuration names does not exist or
            does not fit, or `nonfinite` is "roll_back", which needs checkpoints.
        NonFiniteError: as `config.nonfinite` says.

    Example:
        >>> config = tl.ExperimentConfig(
        ...     data=tl.DataConfig(train_examples=64),
        ...     model=tl.config("mlp", hidden=[8]),
        ...     epochs=2,
        ...     execution="graph",
        ... )
        >>> result = tl.run_trial(config)
        >>> len(result.history), sorted(result.test), [w.shape for w in result.weights]
        (2, ['accuracy', 'loss'], [(64, 8), (8,), (8, 10), (10,)])
        >>> result.build_model().count_params()
        610
    """
    return run_trial_with_model(config, task, pool=pool, callbacks=callbacks, start=start)[0]


def run_trial_with_model(
    config: ExperimentConfig,
    task: Task | None = None,
    *,
    pool: TrainerPool | None = None,
    callbacks: Sequence[Callback] = (),
    start: Start | None = None,
) -> tuple[TrialResult, Any]:
    """Return the result of `run_trial` and the Keras model that was trained."""
    start = Start(None) if start is None else start
    check_trial(config)
    _check_start(config, start)
    task = build_task(config) if task is None else task
    pool = TrainerPool() if pool is None else pool
    last = LastStatus()
    with contextlib.ExitStack() as leases:

        def shared(config: ExperimentConfig, task: Task, built: Models) -> SharedPrograms:
            assert pool is not None
            return leases.enter_context(pool.lease(programs_key(config, task, built)))

        prepared = prepare_run(config, task, Session(), program_source=shared, model=start.model)
        prepared.trainer.state = start.restored(prepared.trainer.state)
        history = prepared.trainer.fit(
            prepared.data,
            epochs=config.epochs,
            initial_epoch=start.epoch,
            validation_data=held_out(prepared.task),
            callbacks=[last, *callbacks, *prepared.callbacks],
            verbose=0,
        )
        used = dataclasses.replace(prepared.config, execution=prepared.trainer.execution)
        prepared = prepared._replace(config=used)  # not known before the first step
        prepared.built.plan.restore(prepared.built.full)
        prepared, calibration = calibrated(prepared, last.stop, lambda line: None)
        results = evaluate_parts(prepared, last.stop, calibration)
    model = prepared.built.full
    result = TrialResult(
        prepared.config,
        history,
        last.stop,
        **results,
        weights=model.get_weights(),
        architecture=keras.saving.serialize_keras_object(model),
        seconds=round(sum(epoch["seconds"] for epoch in history), 3),
    )
    return result, model


def check_trial(config: ExperimentConfig) -> None:
    """Raise `ValueError` for settings that need checkpoints, which a trial does not have."""
    if config.nonfinite == "roll_back":
        raise ValueError("nonfinite=roll_back needs the checkpoints of a run: choose skip or stop")


def check_one_machine(name: str, config: ExperimentConfig, instead: str = "") -> None:
    """Raise `ValueError` if several workers are to train what one machine trains.

    Args:
        name: what is trained, for the message.
        config: the experiment.
        instead: how several machines can take part, for the message. Default: "", they cannot.
    """
    if cluster() is not None or config.strategy == "multi_worker":
        how = f"; {instead}" if instead else ""
        raise ValueError(
            f"{name} is trained on one machine: leave out multi_worker and TF_CONFIG{how}"
        )


def _check_start(config: ExperimentConfig, start: Start) -> None:
    """Raise `ValueError` for settings with which a trial cannot continue from a state."""
    if start.state is not None and config.weight_average.kind != NONE:
        raise ValueError(
            "weight_average: training cannot continue from a saved average; leave it out for a "
            "model that is trained further"
        )
