"""Session of a worker: the rendezvous before the run, liveness checks during it, and its exit."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from trainlib.cli import output
from trainlib.cli.distributed.liveness import Liveness
from trainlib.cli.distributed.rendezvous import rendezvous
from trainlib.cli.distributed.secret import worker_secret
from trainlib.cli.errors import status_of
from trainlib.cli.process_exit import exit_immediately
from trainlib.core.checks import check_number
from trainlib.training.cluster import Cluster, cluster


class WorkerSession(NamedTuple):
    """Session of a worker.

    Attributes:
        is_chief: whether this process prints and writes files.
        start_barrier: context manager to create the strategy in, given a function that
            returns the fingerprint of the data; entered once all workers are ready and have the
            same data.
    """

    is_chief: bool
    start_barrier: Callable[[Callable[[], str]], contextlib.AbstractContextManager[Any]]


class WorkerSecret(NamedTuple):
    """Where the secret of the workers of a run comes from.

    Attributes:
        file: path of a file with the secret. Default: None, an environment variable; see
            `worker_secret`.
        insecure: whether workers on several machines may run without a secret. Default: False.
    """

    file: str | None = None
    insecure: bool = False


@contextlib.contextmanager
def worker_session(
    strategy: str,
    timeout: float,
    settings: Mapping[str, str],
    check: Callable[[], None],
    secret: WorkerSecret,
) -> Iterator[WorkerSession]:
    """Run a worker of TF_CONFIG, or a run of one process, inside this context.

    Workers other than the chief print warnings and errors only.

    Args:
        strategy: name of the strategy; only "auto" and "multi_worker" read TF_CONFIG.
        timeout: seconds to wait for the other workers, above 0.
        settings: flags that must be equal on all workers, as `--name=value` by name.
        check: called on the chief before any worker begins; raises ValueError.
        secret: where the secret of the workers comes from.

    Raises:
        ValueError: settings or data of two workers differ, TF_CONFIG is not valid, or the workers
            need a secret.
        WorkerLostError: another worker did not connect in time, or is lost.
    """
    check_number("worker_timeout", timeout, above=0)
    workers = cluster() if strategy in ("auto", "multi_worker") else None
    if workers is None or len(workers.addresses) == 1:
        check()
        yield WorkerSession(True, contextlib.nullcontext)
        return
    known = worker_secret(workers.addresses, secret.file, secret.insecure)
    liveness = Liveness(rendezvous(workers, settings, timeout, check, known))
    status = 0
    try:
        with _output_of(workers), liveness.guard():
            yield WorkerSession(workers.number == 0, liveness.start_barrier)
    except BaseException as error:
        status = status_of(error)
        raise
    finally:
        liveness.close()
        # TensorFlow's exit handlers wait for the other workers: forever, if one is lost.
        atexit.register(exit_immediately, status)


@contextlib.contextmanager
def _output_of(workers: Cluster) -> Iterator[None]:
    """Discard what workers other than the chief print, except warnings and errors."""
    if workers.number == 0:
        yield
        return
    with (
        open(os.devnull, "w") as null_device,
        contextlib.redirect_stdout(null_device),
        output.warnings_only(),
    ):
        yield
