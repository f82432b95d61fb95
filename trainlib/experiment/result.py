"""The result of an experiment, and the session of a process in it."""

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
        config: the configuration of the run, with "auto" resolved: learning rate, execution, norms.
        folder: the run folder; None on workers other than the chief.
        history: results of each epoch, a dict each.
        train: loss and metrics of the final model over the training part; None if the run was
            stopped to be resumed.
        validation: the same over the validation part; None if there is none.
        test: the same over the test part.
        steps: optimizer steps of the whole run.
        seconds: seconds of training, without evaluation of the parts.
        execution: how steps ran: "graph", "xla" or "xla_update".
        params_sha256: SHA-256 hash of the final parameters.
        model: the trained Keras model.
        stop: the request that ended training before its last epoch; None if none did.
        calibration: what the temperature changes, by part of the data; {} if none was fitted.
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
        """Whether the run is finished, and not stopped to be resumed."""
        return self.stop is None or not self.stop.resumable


class NonFiniteRunError(NonFiniteError):
    """A run that ended because numbers were not finite.

    Attributes:
        batch: number of the batch, counted from 1 over the whole run; None if it is unknown.
        folder: the run folder, whose checkpoints a replay starts from; None if there is none.
    """

    def __init__(self, message: str, batch: int | None, folder: Path | None) -> None:
        super().__init__(message, batch)
        self.folder = folder


class RunInterrupted(KeyboardInterrupt):  # noqa: N818
    """A run that was interrupted before or after its training; its folder can be resumed.

    Attributes:
        folder: its folder.
        is_finished: whether everything but the report is written.
    """

    def __init__(self, folder: Path, is_finished: bool) -> None:
        super().__init__(str(folder))
        self.folder, self.is_finished = folder, is_finished


StartBarrier = Callable[[Callable[[], str]], contextlib.AbstractContextManager[Any]]


class Session(NamedTuple):
    """The part of a process in a run.

    Attributes:
        is_chief: whether it writes files: the first worker, or the only process.
        start_barrier: context manager to create the strategy in, given a function that returns the
            fingerprint of the data: workers with other data are refused there.
        log: called with lines on the progress of the run.
        log_result: called with lines on its results. Default: None, `log` is.
    """

    is_chief: bool = True
    start_barrier: StartBarrier = contextlib.nullcontext
    log: Log = lambda line: None
    log_result: Log | None = None


def default_session() -> Session:
    """Return the session of a process by TF_CONFIG; it logs nothing."""
    workers = cluster()
    return Session(is_chief=workers is None or workers.number == 0)
