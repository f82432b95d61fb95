"""Training on several devices at once: a replica of the state on each, and a part of each batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer
from trainlib.core.types import Tensor, Tree
from trainlib.metrics import merge
from trainlib.step.state import ApplyFn, Batch, MetricStates, ModelOutput, TrainState
from trainlib.training.batch_statistics import Part, over_replicas
from trainlib.training.cluster import cluster
from trainlib.training.functional_model import SEED_STATE
from trainlib.training.variables import assign, read

LoopCondition: TypeAlias = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]
"""Of `loop_condition`."""
HOST = "/device:CPU:0"
"""Where batches are gathered: only a replica's own rows travel to its device."""


@functools.cache
def mirrored(replicas: int | None = None) -> Any:
    """The strategy for so many devices of this machine; one and the same at every call.

    Without accelerators the processor is taken for as many devices.

    Args:
        replicas: how many; None for all accelerators, or one processor.

    Raises:
        ValueError: fewer accelerators, or a processor that can no longer be divided.
    """
    if replicas is not None:
        check_integer("replicas", replicas, at_least=1)
    devices = _devices(replicas)
    # Sums on one processor need no collectives, which two strategies in a process would mix up.
    on_one = tf.distribute.ReductionToOneDevice() if "CPU" in devices[0] else None
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=on_one)


@functools.cache
def multi_worker() -> Any:
    """The strategy over the processes that TF_CONFIG names; call it before all else in each.

    Raises:
        ValueError: TF_CONFIG names none, or not as it should.
    """
    if cluster() is None:
        raise ValueError("strategy 'multi_worker' needs TF_CONFIG, which names the workers")
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_multi_worker(strategy: Any) -> bool:
    """Whether the strategy is one over several processes, which must make the same calls."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy: Any) -> bool:
    """Whether this process is the one that writes files: the first worker, or the only one."""
    return not is_multi_worker(strategy) or strategy.cluster_resolver.task_id == 0


def broadcast_from_chief(strategy: Any, x: float) -> float:
    """The first worker's value, on every worker; elsewhere the value itself."""
    if not is_multi_worker(strategy):
        return x
    mine = x if is_chief(strategy) else 0.0
    return float(_summed(strategy, [mine])[0])


def any_worker(strategy: Any, flags: Sequence[bool]) -> list[bool]:
    """Of each flag, whether it is set on any worker; elsewhere the flags themselves."""
    if not is_multi_worker(strategy):
        return list(flags)
    return [bool(x) for x in _summed(strategy, flags)]


def _summed(strategy: Any, numbers: Sequence[float]) -> np.ndarray:
    """The sums of numbers over the workers, float64, on every worker."""
    sums = _summing(strategy)(tf.constant(numbers, tf.float64))
    return np.asarray(strategy.experimental_local_results(sums)[0])


@functools.cache
def _summing(strategy: Any) -> Callable[[Tensor], Any]:
    """`x -> the sum of the workers' x`, to which the first replica of each adds."""
    replicas = len(strategy.extended.worker_devices)

    def one(x: Tensor) -> Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return all_reduce(tf.where(replica % replicas == 0, x, tf.zeros_like(x)))

    def run(x: Tensor) -> Any:
        return strategy.run(one, (x,))

    compiled: Callable[[Tensor], Any] = tf.function(run, autograph=False)
    return compiled


def _devices(replicas: int | None) -> list[str]:
    accelerators = tf.config.list_physical_devices("GPU")
    if accelerators:
        count = len(accelerators) if replicas is None else replicas
        if count > len(accelerators):
            raise ValueError(f"replicas={count}, but this machine has {len(accelerators)} GPUs")
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
    return ValueError(
        f"replicas={count}, but TensorFlow has already begun with {found} CPU device"
        f"{'s' if found > 1 else ''}: choose the replicas before the model is made"
    )


STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")


def strategy_named(name: str, replicas: int | None = None) -> Any:
    """The strategy of that name; None for one device.

    "auto" is "multi_worker" where TF_CONFIG names several workers, "mirrored" where replicas are
    asked for or there are several accelerators, and else "one_device".

    Raises:
        ValueError: there is no such strategy; replicas of another one than "mirrored"; or as
            `mirrored` and `multi_worker` have it.
    """
    check_choice("strategy", name, STRATEGIES)
    if name == "auto":
        several = replicas is not None or len(tf.config.list_physical_devices("GPU")) > 1
        workers = cluster()
        name = "mirrored" if several else "one_device"
        name = "multi_worker" if workers and len(workers.addresses) > 1 else name
    if replicas is not None and name != "mirrored":
        raise ValueError(f"replicas={replicas} are for the strategy 'mirrored', not for {name!r}")
    if name == "one_device":
        return None
    return mirrored(replicas) if name == "mirrored" else multi_worker()


def place_state(strategy: Any, state: TrainState) -> Any:
    """A state in variables, a copy on each device: each replica assigns its own.

    Outside of `strategy.run` reading one reads the first replica's, assigning assigns to all.
    """
    with strategy.scope():
        return tf.nest.map_structure(lambda x: tf.Variable(x, trainable=False), state)


def all_reduce(tree: Tree) -> Tree:
    """The sum of a structure over all replicas, on each of them: one collective per dtype.

    It is what `train_step` takes as `reduce`. Gradients pass through; leaves of None stay None.
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


def replicated(apply_fn: ApplyFn) -> ApplyFn:
    """A model on a replica's part of a batch; its x is the pair (x, present) of `train_loop`.

    Batch statistics are those of the whole batch, for layers that `synchronize` prepared. Each
    replica makes random draws of its own, from the same state, which stays the same on all.
    """

    def apply(params: Tree, model_state: Tree, x: Any, training: bool) -> ModelOutput:
        x, present = x
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group
        part = Part(replica, context.num_replicas_in_sync, all_reduce, present)
        begun = _own_draws(model_state, replica)
        with over_replicas(part):
            forward = apply_fn(params, begun, x, training=training)
        return forward._replace(model_state=_advanced(model_state, begun, forward.model_state))

    return apply


def _own_draws(model_state: Tree, replica: Tensor) -> Tree:
    """The state with the seeds that this replica draws from."""
    if not isinstance(model_state, Mapping):
        return model_state
    return {
        name: _folded(x, replica) if name.startswith(SEED_STATE) else x
        for name, x in model_state.items()
    }


def _folded(seed: Tensor, replica: Tensor) -> Tensor:
    """A seed of a replica's own; Keras counts in its second word, so both are drawn."""
    words = tf.random.experimental.stateless_fold_in(
        seed, tf.cast(replica, seed.dtype), alg="philox"
    )
    return tf.random.stateless_uniform(
        tf.shape(seed), words, minval=0, maxval=2**31 - 1, dtype=seed.dtype, alg="philox"
    )


def _advanced(model_state: Tree, begun: Tree, ended: Tree) -> Tree:
    """The new state, its seeds as far ahead of the old ones as the replica's own went."""
    if not isinstance(model_state, Mapping):
        return ended
    return {
        name: model_state[name] + (x - begun[name]) if name.startswith(SEED_STATE) else x
        for name, x in ended.items()
    }


def loop_condition(variables: Any = None, halts: bool = False) -> LoopCondition:
    """The condition `(start, stop) -> at -> bool` of a loop of steps from `start` up to `stop`.

    Args:
        variables: the state.
        halts: whether the loop ends behind a step that was skipped with no lower scale left. The
            first step is made whatever the one before it was.
    """

    def between(start: Tensor, stop: Tensor) -> Callable[[Tensor], Tensor]:
        def condition(at: Tensor) -> Tensor:
            if not halts:
                return at < stop
            return (at < stop) & ((at == start) | ~variables.finite_guard.exhausted.read_value())

        return condition

    return between


def train_loop(
    strategy: Any,
    step: Callable[..., tuple[TrainState, MetricStates]],
    variables: Any,
    batch_size: int,
    halts: bool = False,
) -> Callable[..., MetricStates]:
    """`(examples, start, stop, last, records) -> records`: steps one after another, to be traced.

    The batches lie in the examples from position `start` up to `stop`. Each is cut into equal
    parts, a replica each; what the last ones lack is filled up with rows of weight 0. The records
    are those of `in_rows`.

    Args:
        strategy: of `mirrored` or `multi_worker`.
        step: of `train_step`, with `replicated` around its model and `reduce=all_reduce`.
        variables: the state, of `place_state`.
        batch_size: of the whole batch.
        halts: as of `loop_condition`.
    """
    one = _training(strategy, step, variables, batch_size)
    return _loop(strategy, one, batch_size, loop_condition(variables, halts))


def one_step(
    strategy: Any,
    step: Callable[..., tuple[TrainState, MetricStates]],
    variables: Any,
    records: MetricStates,
    batch_size: int,
) -> Callable[[Batch], Any]:
    """One step of `train_loop`, without the loop: `batch -> records`."""
    one, ends = _training(strategy, step, variables, batch_size), tf.constant(False)
    at = tf.constant(0, tf.int64)

    def run(batch: Batch) -> Any:
        own = strategy.run(_own_row, (records,))
        return strategy.run(one, (batch, at, at, ends, own))

    return run


def gradients(
    strategy: Any, step: Callable[[TrainState, Batch], Tree], variables: Any, batch_size: int
) -> Callable[..., Tree]:
    """`(examples, at) -> grads` of the batch at `at`; they are the same on each replica.

    Args:
        strategy, variables, batch_size: as of `train_loop`.
        step: `(state, batch) -> grads`, with `replicated` around its model and `reduce=all_reduce`.
    """

    def one(examples: Tree, at: Tensor) -> Tree:
        return step(read(variables), _present_part(strategy, examples, at, batch_size))

    def run(examples: Tree, at: Tensor) -> Tree:
        grads = tf.nest.flatten(strategy.run(one, (examples, at)))
        own = [None if g is None else strategy.experimental_local_results(g)[0] for g in grads]
        return tf.nest.pack_sequence_as(variables.params, own)

    return run


def _training(
    strategy: Any,
    step: Callable[..., tuple[TrainState, MetricStates]],
    variables: Any,
    batch_size: int,
) -> Callable[..., MetricStates]:
    """A step on a replica's part of the batch at `at`, to be run on each replica."""

    def one(
        examples: Tree, at: Tensor, stop: Tensor, last: Tensor, records: MetricStates
    ) -> MetricStates:
        batch = _present_part(strategy, examples, at, batch_size)
        state, new = step(read(variables), batch, last & (at + batch_size >= stop))
        assign(variables, state)
        merged: MetricStates = merge(records, new)
        return merged

    return one


def _present_part(strategy: Any, examples: Tree, at: Tensor, batch_size: int) -> Batch:
    """This replica's part of the batch at `at`, as `replicated` takes it."""
    replicas = strategy.num_replicas_in_sync
    places, batch = _part(examples, at, batch_size, replicas)
    present = places < batch_size if batch_size % replicas else None
    x, *rest = batch if present is None else fill_weights(batch, present)
    return (x, present), *rest


def eval_loop(
    strategy: Any,
    step: Callable[[TrainState, Batch], MetricStates],
    variables: Any,
    batch_size: int,
) -> Callable[..., MetricStates]:
    """As `train_loop`, of an `eval_step`; the examples behind `stop` weigh 0."""
    replicas = strategy.num_replicas_in_sync

    def one(
        examples: Tree, at: Tensor, stop: Tensor, last: Tensor, records: MetricStates
    ) -> MetricStates:
        places, batch = _part(examples, at, batch_size, replicas)
        present = (places < batch_size) & (at + places < stop)
        new = step(read(variables), fill_weights(batch, present))
        merged: MetricStates = merge(records, new)
        return merged

    return _loop(strategy, one, batch_size, loop_condition())


def _loop(
    strategy: Any, one: Callable[..., MetricStates], batch_size: int, loop_condition: LoopCondition
) -> Callable[..., MetricStates]:
    """The loop around `one(examples, at, stop, last, records)` on each replica.

    It goes around `strategy.run`, in which there may be no loop around a sum over replicas. The
    records have a row for each replica, which goes on with its own: so the order of sums, and with
    it their rounding, does not depend on how many steps a call makes.
    """

    def run(
        examples: Tree, start: Tensor, stop: Tensor, last: Tensor, records: MetricStates
    ) -> MetricStates:
        def body(at: Tensor, own: Any) -> tuple[Tensor, Any]:
            return at + batch_size, strategy.run(one, (examples, at, stop, last, own))

        begun, going = strategy.run(_own_row, (records,)), loop_condition(start, stop)
        own = tf.while_loop(lambda at, _: going(at), body, (start, begun))[1]
        rows = strategy.run(functools.partial(_in_own_row, strategy.num_replicas_in_sync), (own,))
        all_rows: MetricStates = tf.nest.map_structure(
            lambda x: strategy.reduce("SUM", x, axis=None), rows
        )
        return all_rows

    return run


def in_rows(strategy: Any, records: MetricStates) -> MetricStates:
    """The records of no examples with a row for each replica, as the loops take and return them."""
    count = strategy.num_replicas_in_sync
    rows: MetricStates = tf.nest.map_structure(
        lambda x: tf.zeros([count, *x.shape], x.dtype), records
    )
    return rows


def sum_of_rows(records: MetricStates) -> MetricStates:
    """The records of all replicas together."""
    sums: MetricStates = tf.nest.map_structure(lambda x: tf.reduce_sum(x, 0), records)
    return sums


def _own_row(records: MetricStates) -> MetricStates:
    """This replica's records."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    row: MetricStates = tf.nest.map_structure(lambda x: x[replica], records)
    return row


def _in_own_row(replicas: int, records: MetricStates) -> MetricStates:
    """Rows for all replicas, 0 but for this one's."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group

    def place(x: Tensor) -> Tensor:
        mine = tf.reshape(tf.range(replicas) == replica, [-1] + [1] * x.shape.rank)
        return tf.where(mine, x[None], tf.zeros_like(x))

    rows: MetricStates = tf.nest.map_structure(place, records)
    return rows


def _part(examples: Tree, at: Tensor, batch_size: int, replicas: int) -> tuple[Tensor, Batch]:
    """This replica's places in the batch that begins at `at`, and the examples there.

    A place behind the batch's end has its last example.
    """
    share = -(-batch_size // replicas)
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    places = tf.cast(replica, tf.int64) * share + tf.range(share, dtype=tf.int64)
    rows = at + tf.minimum(places, batch_size - 1)
    with tf.device(HOST):
        return places, tf.nest.map_structure(lambda a: tf.gather(a, rows), examples)


def fill_weights(batch: Batch, present: Tensor) -> Batch:
    """The batch with weight 0 for the rows that are not present."""
    x, y, *weight = batch
    if not weight:
        return x, y, tf.cast(present, tf.float32)
    present = tf.reshape(present, [-1] + [1] * (weight[0].shape.rank - 1))
    return x, y, tf.where(present, weight[0], tf.zeros_like(weight[0]))
