"""The processes that train together, as the environment variable TF_CONFIG lists them."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from trainlib.core.checks import check_choice

VARIABLE = "TF_CONFIG"
JOBS = ("chief", "worker")
"""The jobs whose tasks train, in the order of workers."""


class Cluster(NamedTuple):
    """The workers of a run.

    Attributes:
        addresses: host:port of each worker, the chief first.
        number: index of this process among them.
    """

    addresses: tuple[str, ...]
    number: int


def cluster() -> Cluster | None:
    """Return the workers and this process's index; None if TF_CONFIG lists none.

    Raises:
        ValueError: TF_CONFIG is not as `tf.distribute.MultiWorkerMirroredStrategy` needs it.
    """
    text = os.environ.get(VARIABLE) or "{}"
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{VARIABLE} must be JSON, got {text[:200]!r}: {error}") from None
    if not isinstance(config, dict) or not config.get("cluster"):
        return None
    jobs, task = config["cluster"], config.get("task")
    if not isinstance(jobs, dict) or not all(map(_are_addresses, jobs.values())):
        raise ValueError(
            f'{VARIABLE}: "cluster" must be lists of "host:port" by job, such as '
            f'{{"worker": ["10.0.0.1:12345", "10.0.0.2:12345"]}}, got {json.dumps(jobs)}'
        )
    for job in jobs:
        check_choice(f"job of {VARIABLE}", job, JOBS)
    tasks = [(job, i) for job in JOBS for i in range(len(jobs.get(job, ())))]
    this = (task.get("type"), task.get("index")) if isinstance(task, dict) else None
    if this not in tasks:
        raise ValueError(
            f'{VARIABLE}: "task" must be one of the cluster\'s, such as '
            f"{_as_task(*tasks[-1])}, got {json.dumps(task)}"
        )
    addresses = tuple(jobs[job][i] for job, i in tasks)
    if len(set(addresses)) < len(addresses):
        raise ValueError(f"{VARIABLE}: each worker needs its own address, got {addresses}")
    return Cluster(addresses, tasks.index(this))


def _are_addresses(x: Any) -> bool:
    """Return whether x is a list of `host:port`, not empty."""
    return isinstance(x, list) and bool(x) and all(map(_is_address, x))


def _is_address(x: Any) -> bool:
    """Return whether x is a text `host:port`."""
    host, _, port = x.rpartition(":") if isinstance(x, str) else ("", "", "")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 2**16


def _as_task(job: str, index: int) -> str:
    """Return a task of TF_CONFIG as JSON."""
    return json.dumps({"type": job, "index": index})
