"""Predictions of a Keras model with active dropout: one program makes all samples of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import keras
import tensorflow as tf

from trainlib.core.types import Tensor, Tree
from trainlib.metrics.base import ACTIVATIONS
from trainlib.training.functional_model import FunctionalModel
from trainlib.training.keras_private import all_layers, preprocesses_inputs
from trainlib.training.layer_calls import calls_through, takes_training, without_training
from trainlib.training.model_variables import SEED_STATE

Seeds: TypeAlias = Mapping[str, Tensor]
"""States of random generators by path."""
Call: TypeAlias = Callable[[Seeds, Tree], Tensor]
"""`(seeds, x) -> y_pred`."""


class Probabilities(NamedTuple):
    """The kind of the outputs of a model.

    Attributes:
        kind: "softmax" or "sigmoid" for probabilities of that activation; None for numbers.
        from_logits: whether the outputs are logits, to which the activation is applied.
    """

    kind: str | None
    from_logits: bool

    def of(self, outputs: Tensor) -> Tensor:
        """Return the probabilities, or the numbers, in float64."""
        wide = tf.cast(outputs, tf.float64)
        return ACTIVATIONS[str(self.kind)](wide) if self.from_logits else wide

    def entropy(self, p: Tensor) -> Tensor:
        """Return the entropy in nats: of each row of a softmax, or each output of a sigmoid."""
        if self.kind == "softmax":
            return -tf.reduce_sum(tf.math.xlogy(p, p), axis=-1)
        return -tf.math.xlogy(p, p) - tf.math.xlogy(1 - p, 1 - p)


class Sums(NamedTuple):
    """Running sums over the samples of a batch, float64.

    Attributes:
        count: number of samples, [].
        mean: mean of the samples, of the shape of the predictions.
        squares: sum of squared distances from the mean, of the shape of the predictions.
        entropy: sum of the entropies of the samples; 0 for numbers.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    entropy: Tensor

    def add(self, p: Tensor, entropy: Tensor) -> Sums:
        """Return the sums with one more sample (Welford's update)."""
        count, change = self.count + 1, p - self.mean
        mean = self.mean + change / count
        return Sums(count, mean, self.squares + change * (p - mean), self.entropy + entropy)


def call_with_dropout(model: Any, pure: FunctionalModel) -> Call:
    """Return a Keras model's call in training mode, except for layers with statistics.

    Args:
        model: the model.
        pure: the model as a function, with its values.

    Raises:
        ValueError: from the returned function: the model draws no random numbers, so that it has no
            dropout; or it changes other variables, or draws numbers that do not depend on the
            seeds.
    """
    kept = [x for x in all_layers(model) if _has_statistics(x) and takes_training(x)]

    def call(seeds: Seeds, x: Tree) -> Tensor:
        graph = tf.compat.v1.get_default_graph()
        first = len(graph.get_operations())
        state = {**pure.model_state, **seeds}
        with calls_through(kept, without_training):
            output = pure.apply_fn(pure.params, state, x, training=True)
        changed = [path for path in state if output.model_state[path] is not state[path]]
        _check_changes(model, [path for path in changed if path not in seeds], output.params)
        if not any(path in seeds for path in changed):
            raise ValueError(
                f"model {model.name!r} has no dropout, so that all samples would be equal: train "
                "one with dropout, such as --model=mlp --dropout=0.5"
            )
        _check_seeded(model, graph.get_operations()[first:])
        return output.y_pred

    return call


def for_each_example(call: Call) -> Call:
    """Return a call that draws the same random numbers for all examples.

    Each example is a batch of size 1; what does not depend on it, such as a mask, is drawn once.
    """

    def of_all(seeds: Seeds, x: Tree) -> Tensor:
        def of_one(example: Tree) -> Tensor:
            return call(seeds, tf.nest.map_structure(lambda a: a[tf.newaxis], example))[0]

        return tf.vectorized_map(of_one, x)

    return of_all


def sample_statistics(
    call: Call, generators: Seeds, reads: Probabilities, samples: int
) -> Callable[[Tensor, Tree], list[Tensor]]:
    """Return a function `(key, x) -> statistics of the samples`.

    The statistics are the mean and the standard deviation, and for probabilities also the entropy
    and the mutual information.

    Args:
        call: the model with dropout.
        generators: states of the model's random generators, by path.
        reads: kind of the model's outputs.
        samples: number of samples.
    """

    def sample(key: Tensor, index: Tensor, x: Tree) -> tuple[Tensor, Tensor]:
        p = reads.of(call(_seeds(generators, key, index), x))
        return p, reads.entropy(p) if reads.kind else tf.zeros([], tf.float64)

    def statistics(key: Tensor, x: Tree) -> list[Tensor]:
        p, entropy = sample(key, tf.constant(0), x)
        sums = Sums(tf.ones([], tf.float64), p, tf.zeros_like(p), entropy)
        _, sums = tf.while_loop(
            lambda index, sums: index < samples,
            lambda index, sums: (index + 1, sums.add(*sample(key, index, x))),
            (tf.constant(1), sums),
        )
        found = [sums.mean, tf.sqrt(sums.squares / sums.count)]
        if reads.kind:
            entropy = reads.entropy(sums.mean)
            found += [entropy, tf.maximum(entropy - sums.entropy / sums.count, 0)]
        return found

    return statistics


def _seeds(generators: Seeds, key: Tensor, index: Tensor) -> Seeds:
    """Return the states of the generators for a sample, given the key and the sample's index."""
    key = tf.random.experimental.stateless_fold_in(key, index)
    drawn = tf.random.stateless_uniform([len(generators)], key, 0, 2**31 - 1, tf.int32)
    return {
        path: tf.stack([tf.cast(drawn[i], state.dtype), tf.zeros([], state.dtype)])
        for i, (path, state) in enumerate(generators.items())
    }


def _has_statistics(layer: Any) -> bool:
    """Return whether a layer computes statistics of batches, or augments inputs, in training."""
    kinds = (keras.layers.BatchNormalization, keras.layers.SpectralNormalization)
    return isinstance(layer, kinds) or preprocesses_inputs(layer)


def _check_changes(model: Any, changed: list[str], params: Tree | None) -> None:
    """Raise `ValueError` if a call in training mode changed more than random generators."""
    if changed or params is not None:
        which = f"the variable {changed[0]!r}" if changed else "trained variables"
        raise ValueError(
            f"model {model.name!r} changes {which} in training mode, so that its samples would "
            "depend on the batch: only batch and spectral normalization can be kept in inference "
            "mode"
        )


def _check_seeded(model: Any, operations: list[Any]) -> None:
    """Raise `ValueError` if operations draw random numbers from TensorFlow's generators."""
    if any(op.type.startswith(("Random", "Multinomial", "TruncatedNormal")) for op in operations):
        raise ValueError(
            f"model {model.name!r} draws random numbers that do not follow from a seed: draw them "
            "by keras.random with seed=self.seed_generator, a keras.random.SeedGenerator"
        )


def seed_states(pure: FunctionalModel) -> Seeds:
    """Return the states of the random generators of a model, by path."""
    return {path: x for path, x in pure.model_state.items() if path.startswith(SEED_STATE)}
