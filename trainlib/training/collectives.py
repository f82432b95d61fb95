"""Collective operations: sums over replicas; values, flags and requests on which workers agree."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tensor, Tree
from trainlib.training.callback import Request, Save, Stop
from trainlib.training.strategies import is_chief, is_multi_worker


def all_reduce(tree: Tree) -> Tree:
    """Return the sum of a structure over all replicas, on each of them.

    It makes one collective operation per dtype, passes gradients through, and keeps leaves of
    None. It is the `all_reduce` argument of `train_step`.
    """
    leaves = tf.nest.flatten(tree)
    context = tf.distribute.get_replica_context()
    for dtype in dict.fromkeys(x.dtype for x in leaves if x is not None):
        where = [i for i, x in enumerate(leaves) if x is not None and x.dtype == dtype]
        flat = tf.concat([tf.reshape(leaves[i], [-1]) for i in where], 0)
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, flat)
        sizes = [tf.size(leaves[i]) for i in where]
        for i, part in zip(where, tf.split(sums, sizes, num=len(where)), strict=True):
            leaves[i] = tf.reshape(part, tf.shape(leaves[i]))
    return tf.nest.pack_sequence_as(tree, leaves)


def broadcast_from_chief(strategy: Any, x: float) -> float:
    """Return the first worker's value on every worker; without workers, the value itself."""
    if not is_multi_worker(strategy):
        return x
    mine = x if is_chief(strategy) else 0.0
    return float(_sum_over_workers(strategy, [mine])[0])


def any_worker(strategy: Any, flags: Sequence[bool]) -> list[bool]:
    """Return for each flag whether any worker sets it; without workers, the flags themselves."""
    if not is_multi_worker(strategy):
        return list(flags)
    return [bool(x) for x in _sum_over_workers(strategy, flags)]


def agree_on_requests(strategy: Any, requests: list[Request]) -> list[Request]:
    """Return the requests; any worker's request to save or to stop applies to all of them.

    The run can be resumed unless a worker requests a stop that is not resumable.
    """
    if not is_multi_worker(strategy):
        return requests
    saves = [r for r in requests if isinstance(r, Save)]
    stops = [r for r in requests if isinstance(r, Stop)]
    final = [r for r in stops if not r.resumable]
    save, best, stop, is_final = any_worker(
        strategy, [bool(saves), any(r.best for r in saves), bool(stops), bool(final)]
    )
    agreed: list[Request] = [r for r in requests if not isinstance(r, (Save, Stop))]
    reasons = [r.reason for r in (final if is_final else stops)]
    if stop:
        reason = reasons[0] if reasons else "another worker requested it"
        agreed.append(Stop(reason, resumable=not is_final))
    return [*agreed, Save(best=best)] if save else agreed


def _sum_over_workers(strategy: Any, numbers: Sequence[float]) -> np.ndarray:
    """Return the sums of numbers over the workers as float64, on every worker."""
    sums = _worker_sum(strategy)(tf.constant(numbers, tf.float64))
    return np.asarray(strategy.experimental_local_results(sums)[0])


@functools.cache
def _worker_sum(strategy: Any) -> Callable[[Tensor], Any]:
    """Return `x -> sum over the workers`; the first replica of each worker contributes."""
    replicas = len(strategy.extended.worker_devices)

    def one(x: Tensor) -> Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return all_reduce(tf.where(replica % replicas == 0, x, tf.zeros_like(x)))

    def run(x: Tensor) -> Any:
        return strategy.run(one, (x,))

    compiled: Callable[[Tensor], Any] = tf.function(run, autograph=False)
    return compiled
