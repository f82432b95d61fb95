"""Distribution strategies by name: one device, several devices, several workers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer
from trainlib.training.cluster import cluster
from trainlib.training.gpus import visible_gpus

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
MAX_REPLICAS = 64
"""Largest number of replicas on a machine: TensorFlow starts them one after another."""


def get_strategy(name: str, replicas: int | None = None) -> Any:
    """Return the strategy of a name; None for one device.

    Args:
        name: "one_device", "mirrored", "multi_worker" or "auto". "auto" is "multi_worker" if
            TF_CONFIG lists several workers, "mirrored" if `replicas` is given or there are several
            accelerators, and otherwise "one_device".
        replicas: number of replicas, for "mirrored" only; from 1 to 64. Default: None, one replica
            per accelerator.

    Returns:
        A `tf.distribute.Strategy`, or None.

    Raises:
        ValueError: the name is unknown, `replicas` is given for another strategy than "mirrored",
            or the devices or workers do not exist.
    """
    check_choice("strategy", name, STRATEGIES)
    if name == "auto":
        several = replicas is not None or len(visible_gpus()) > 1
        workers = cluster()
        name = "mirrored" if several else "one_device"
        name = "multi_worker" if workers and len(workers.addresses) > 1 else name
    if replicas is not None and name != "mirrored":
        raise ValueError(f"replicas={replicas} are for the strategy 'mirrored', not for {name!r}")
    if name == "one_device":
        return None
    return mirrored(replicas) if name == "mirrored" else multi_worker()


def mirrored(replicas: int | None = None) -> Any:
    """Return the strategy for several devices of this machine, the same object for the same ones.

    Without accelerators the CPU is split into as many logical devices. TensorFlow can split it
    only before its first operation, so call this function before you build a model.

    Args:
        replicas: number of replicas, from 1 to 64. Default: None, one per accelerator, or one CPU.

    Returns:
        A `tf.distribute.MirroredStrategy`.

    Raises:
        TypeError: `replicas` is not an integer.
        ValueError: there are fewer accelerators, or if TensorFlow has already created fewer CPU
            devices.

    Example:
        >>> tl.mirrored(1).num_replicas_in_sync
        1
    """
    if replicas is not None:
        check_integer("replicas", replicas, at_least=1, at_most=MAX_REPLICAS)
    return _mirrored(tuple(_devices(replicas)))


@functools.cache
def _mirrored(devices: Sequence[str]) -> Any:
    """Return the strategy for devices of this machine."""
    # Sums on one CPU need no collectives, which two strategies in a process would mix up.
    on_one = tf.distribute.ReductionToOneDevice() if "CPU" in devices[0] else None
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=on_one)


@functools.cache
def multi_worker() -> Any:
    """Return the strategy over the processes that the environment variable TF_CONFIG lists.

    Every process must call it before any other TensorFlow operation.

    Returns:
        A `tf.distribute.MultiWorkerMirroredStrategy`, the same object at each call.

    Raises:
        ValueError: TF_CONFIG is not set, lists no workers, or is malformed.

    Example:
        >>> tl.multi_worker()
        Traceback (most recent call last):
        ...
        ValueError: strategy 'multi_worker' needs TF_CONFIG, which lists the workers
    """
    if cluster() is None:
        raise ValueError("strategy 'multi_worker' needs TF_CONFIG, which lists the workers")
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_multi_worker(strategy: Any) -> bool:
    """Return whether the strategy spans several processes, which must all make the same calls."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy: Any) -> bool:
    """Return whether this process writes files: the first worker, or the only process."""
    return not is_multi_worker(strategy) or worker_number(strategy.cluster_resolver) == 0


def worker_number(resolver: Any) -> int:
    """Return the number of this process among the workers; a task "chief" is the first.

    Args:
        resolver: a `tf.distribute.cluster_resolver.ClusterResolver`.
    """
    jobs = resolver.cluster_spec().as_dict()
    earlier = len(jobs.get("chief", ())) if resolver.task_type == "worker" else 0
    return earlier + int(resolver.task_id)


def local_replicas(strategy: Any) -> range:
    """Return the numbers of the replicas of this process."""
    total = strategy.num_replicas_in_sync
    if not is_multi_worker(strategy):
        return range(total)
    here = len(strategy.extended.worker_devices)
    first = here * worker_number(strategy.cluster_resolver)
    return range(first, first + here)


def _devices(replicas: int | None) -> list[str]:
    """Return the names of the devices, splitting the CPU if it has to be."""
    accelerators = visible_gpus()
    if accelerators:
        count = len(accelerators) if replicas is None else replicas
        if count > len(accelerators):
            raise ValueError(f"replicas={count}, but this process sees {len(accelerators)} GPUs")
        return [f"GPU:{i}" for i in range(count)]
    count = replicas or 1
    processor = tf.config.list_physical_devices("CPU")[0]
    if count > 1 and tf.config.get_logical_device_configuration(processor) is None:
        one = tf.config.LogicalDeviceConfiguration()
        try:
            tf.config.set_logical_device_configuration(processor, [one] * count)
        except RuntimeError:
            raise _too_late(count, 1) from None
    found = len(tf.config.list_logical_devices("CPU"))
    if count > found:
        raise _too_late(count, found)
    return [f"CPU:{i}" for i in range(count)]


def _too_late(count: int, found: int) -> ValueError:
    """Return the error of splitting the CPU after TensorFlow has created its devices."""
    return ValueError(
        f"replicas={count}, but TensorFlow has already created {found} CPU device"
        f"{'s' if found > 1 else ''}: call tl.mirrored({count}) before you build the model"
    )
