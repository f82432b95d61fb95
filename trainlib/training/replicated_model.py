"""A model's function on one of several replicas, with statistics over the whole batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainlib.core.types import Tensor, Tree
from trainlib.step.state import ApplyFn, ModelOutput
from trainlib.training.batch_statistics import ReplicaPart, on_replica
from trainlib.training.collectives import all_reduce
from trainlib.training.model_variables import SEED_STATE
from trainlib.training.reentry import reentered


def replicated(apply_fn: ApplyFn) -> ApplyFn:
    """Return a model's function for a replica's part of a batch.

    Its argument x is a pair of the inputs and their `Part`. Batch statistics are those of the whole
    batch, in layers that `synchronize` prepared. Each replica draws different random numbers from
    the same state, which stays the same on all.
    """

    def apply(params: Tree, model_state: Tree, x: Any, training: bool) -> ModelOutput:
        x, part = x
        context = tf.distribute.get_replica_context()
        replica = context.replica_id_in_sync_group
        of_batch = ReplicaPart(replica, context.num_replicas_in_sync, all_reduce, part.present)
        start = _replica_seeds(model_state, replica)
        with reentered(lambda: on_replica(of_batch)):
            output = apply_fn(params, start, x, training=training)
        new = _advance_seeds(model_state, start, output.model_state)
        return output._replace(model_state=new, part=part)

    return apply


def _replica_seeds(model_state: Tree, replica: Tensor) -> Tree:
    """Return the state with the seeds that this replica draws from."""
    if not isinstance(model_state, Mapping):
        return model_state
    return {
        name: _fold_in(x, replica) if name.startswith(SEED_STATE) else x
        for name, x in model_state.items()
    }


def _fold_in(seed: Tensor, replica: Tensor) -> Tensor:
    """Return a seed for the replica; Keras counts in the second word, so both words are drawn."""
    words = tf.random.experimental.stateless_fold_in(
        seed, tf.cast(replica, seed.dtype), alg="philox"
    )
    return tf.random.stateless_uniform(
        tf.shape(seed), words, minval=0, maxval=2**31 - 1, dtype=seed.dtype, alg="philox"
    )


def _advance_seeds(model_state: Tree, start: Tree, end: Tree) -> Tree:
    """Return the new state, with its seeds advanced by as much as the replica's seeds."""
    if not isinstance(model_state, Mapping):
        return end
    return {
        name: model_state[name] + (x - start[name]) if name.startswith(SEED_STATE) else x
        for name, x in end.items()
    }
