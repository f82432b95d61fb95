"""The result of an experiment, the exceptions that end it, and the part of a process in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trainlib.callbacks import NonFiniteError
from trainlib.experiment.config import ExperimentConfig
from trainlib.tools.calibration import Calibration
from trainlib.training.callback import Results, Stop
from trainlib.training.cluster import cluster

Log = Callable[[str], Any]


@dataclass(frozen=True)
class ExperimentResult:
    """Result of an experiment.

    Attributes:
        config: the configuration, with "auto" resolved: learning rate, execution, norms.
        folder: the run folder; None on workers other than the chief.
        history: results of each epoch, a dict each.
        train: loss and metrics of the final model on the training part; None if the run was stopped
            and can be resumed.
        validation: loss and metrics on the validation part; None if there is none.
        test: loss and metrics on the test part.
        steps: number of optimizer updates in the whole run.
        seconds: seconds of training, without the final evaluation.
        execution: execution of the steps: "graph", "xla" or "xla_update".
        params_sha256: SHA-256 hash of the final parameters.
        model: the trained Keras model.
        stop: the request that ended training before its last epoch; None if none did.
        calibration: effect of the temperature by part of the data; {} if none was fitted.
    """

    config: ExperimentConfig
    folder: Path | None
    history: Sequence[Results]
    train: Results | None
    validation: Results | None
    test: Results | None
    steps: int
    seconds: float
    execution: str
    params_sha256: str
    model: Any
    stop: Stop | None = None
    calibration: Mapping[str, Calibration] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Whether the run is finished: it was not stopped by a request that lets it be resumed."""
        return self.stop is None or not self.stop.resumable


class NonFiniteRunError(NonFiniteError):
    """A run ended because a loss, a gradient or a parameter was infinite or NaN.

    Attributes:
        batch: number of the batch, counted from 1 over the whole run; None if it is unknown.
        folder: the run folder, from which the step can be replayed; None if there is none.
    """

    def __init__(self, message: str, batch: int | None, folder: Path | None) -> None:
        super().__init__(message, batch)
        self.folder = folder


class RunInterrupted(KeyboardInterrupt):  # noqa: N818
    """A run or an ensemble was interrupted; it can be resumed unless `is_finished`.

    Attributes:
        folder: the run folder.
        is_finished: whether all files but the report are written.
    """

    def __init__(self, folder: Path, is_finished: bool) -> None:
        super().__init__(str(folder))
        self.folder, self.is_finished = folder, is_finished


StartBarrier = Callable[[Callable[[], str]], contextlib.AbstractContextManager[Any]]


class Session(NamedTuple):
    """The part of a process in a run.

    Attributes:
        is_chief: whether the process writes files: the first worker, or the only process. Default:
            True.
        start_barrier: function of a function that returns the fingerprint of the data. It returns
            the context manager in which the strategy is created, and which raises an error if the
            data of workers differ. Default: a context manager that does nothing.
        log: function called with lines on the progress of the run. Default: not called.
        log_result: function called with lines on the results of the run. Default: None, `log`.
    """

    is_chief: bool = True
    start_barrier: StartBarrier = contextlib.nullcontext
    log: Log = lambda line: None
    log_result: Log | None = None


def default_session() -> Session:
    """Return the part of this process according to TF_CONFIG, without a log."""
    workers = cluster()
    return Session(is_chief=workers is None or workers.number == 0)
