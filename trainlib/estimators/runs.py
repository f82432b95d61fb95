"""Training of an estimator's model: from new weights, or further from those of an earlier fit."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainlib.callbacks import Callback
from trainlib.estimators.fitted import FittedModel
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.task import Task
from trainlib.experiment.trial import Start, run_trial_with_model, without_values
from trainlib.training.callback import Results, TrainingStatus
from trainlib.training.pool import TrainerPool

POOL = TrainerPool()
"""The trainers of this process, which the fits of a search share."""
_LOCK = threading.Lock()
"""Fits in several threads take turns: they share the trainers."""


def train(
    config: ExperimentConfig,
    task: Task,
    callbacks: Sequence[Callback] = (),
    previous: FittedModel | None = None,
    keeps_state: bool = False,
) -> tuple[FittedModel, list[Results]]:
    """Return a trained model and the results of each epoch.

    Args:
        config: the experiment; its epochs are those of this fit.
        task: its data in parts.
        callbacks: callbacks of this fit. Default: none.
        previous: the model of an earlier fit, which is trained further. Default: None, a new one.
        keeps_state: whether the model keeps the state of its optimizer. Default: False.
    """
    last = _LastState()
    before = 0 if previous is None else previous.epochs
    start = None if previous is None else Start(previous.build_model(), previous.state, before)
    with _LOCK:
        result, model = run_trial_with_model(
            dataclasses.replace(config, epochs=before + config.epochs),
            task,
            pool=POOL,
            callbacks=[*callbacks, last] if keeps_state else callbacks,
            start=start,
        )
    state, epochs = last.values, before + len(result.history)
    fitted = FittedModel(result, config, task.signature, state, epochs)
    fitted.keep_model(model)
    return fitted, result.history


class _LastState(Callback):
    """Callback that stores the state of the optimizer and the counters at the end of training."""

    values: list[np.ndarray] | None = None

    def on_train_end(self, status: TrainingStatus) -> None:
        state = without_values(status.state())
        self.values = [np.asarray(x) for x in tf.nest.flatten(state)]
