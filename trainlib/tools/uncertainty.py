"""`mc_predict`: predictions with their uncertainty, from many passes with dropout."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer
from trainlib.core.tree import check_same_structure
from trainlib.metrics.base import ACTIVATIONS
from trainlib.tools.dropout_samples import (
    Probabilities,
    call_with_dropout,
    for_each_example,
    sample_statistics,
    seed_states,
)
from trainlib.training.chunks import specs_of
from trainlib.training.data_adapter import DataAdapter, as_input_adapter
from trainlib.training.evaluation import EVALUATION_BATCH_SIZE
from trainlib.training.from_logits import check_from_logits
from trainlib.training.functional_model import FunctionalModel, functional_from_keras
from trainlib.training.model_ending import ends_in_logits, final_activation
from trainlib.training.model_link import stateful_layer
from trainlib.training.sources import EpochLength
from trainlib.training.trainer import Trainer

MASKS = ("fresh", "fixed")
SAMPLES = 100
"""Default number of samples."""


class UncertainPrediction(NamedTuple):
    """Predictions and their uncertainty, float64 arrays.

    Attributes:
        mean: mean of the samples, in the shape of the predictions.
        std: standard deviation of the samples, in the same shape.
        entropy: predictive entropy in nats: of a softmax [batch, ...], of a sigmoid in the shape of
            the predictions. None where the predictions are no probabilities.
        mutual_information: mutual information between prediction and weights in nats, in the shape
            of entropy; None where that is None.

    Example:
        >>> model = tl.models.mlp((4,), 1, hidden=(16,), dropout=0.5)
        >>> found = tl.mc_predict(model, np.ones([2, 4], "float32"), samples=10)
        >>> found.std.shape, found.entropy
        ((2, 1), None)
    """

    mean: np.ndarray
    std: np.ndarray
    entropy: np.ndarray | None
    mutual_information: np.ndarray | None


def mc_predict(
    model: Any,
    x: Any,
    samples: int = SAMPLES,
    *,
    masks: str = "fresh",
    seed: int = 0,
    batch_size: int | None = None,
    activation: str | None = None,
    from_logits: bool | None = None,
) -> UncertainPrediction:
    """Predict with dropout switched on, many times, and return mean and uncertainty.

    Each of T samples p_t is a pass with other dropout masks:

        mean                p = 1/T sum_t p_t
        std                 sqrt(1/T sum_t (p_t - p)^2)
        entropy             H(p) = -sum_k p_k log p_k
        mutual_information  H(p) - 1/T sum_t H(p_t)

    The mutual information (BALD) is the part of the entropy that comes from the weights: it is high
    where the samples are confident and contradict each other. For a sigmoid, H is that of each
    output by itself.

    All layers are in training mode, except batch normalization, spectral normalization and Keras's
    layers that augment inputs. The model and its generators are not changed. One call to the device
    makes all samples of a batch, one after another, and keeps sums only, so that it takes the
    memory of `predict`.

    Args:
        model: a built Keras model with dropout, or a `Trainer` of one.
        x: as for `Trainer.predict`.
        samples: T, at least 2. Default: 100.
        masks: "fresh", each example has separate masks, which depend on its position in its batch;
            or "fixed", all examples have the same T masks: each sample is then one function of x,
            and the result does not depend on the batch size. Default: "fresh".
        seed: seed of the masks. Default: 0.
        batch_size: examples per batch, at least 1, for arrays only. Default: None, 512.
        activation: "softmax" or "sigmoid", the kind of the probabilities that the model predicts.
            Default: None, inferred from its last layer; without such an activation, the predictions
            are numbers.
        from_logits: whether the model ends in logits, to which the activation is applied. Default:
            None, inferred from its last layer.

    Returns:
        An `UncertainPrediction`.

    Raises:
        TypeError: an argument has the wrong type; the model is no Keras model.
        ValueError: an argument is out of range; the model is not built, has no dropout, has several
            outputs or a stateful layer, draws numbers that do not follow from the seed, or changes
            other variables in training mode than those of its random generators.

    Example:
        >>> model = tl.models.mlp((4,), 3, "softmax", hidden=(16,), dropout=0.5)
        >>> found = tl.mc_predict(model, np.ones([2, 4], "float32"), samples=10)
        >>> found.mean.shape, found.entropy.shape
        ((2, 3), (2,))
        >>> bool((found.mutual_information < found.entropy).all())
        True

    References:
        Gal and Ghahramani 2016, "Dropout as a Bayesian Approximation".
        Houlsby et al. 2011, "Bayesian Active Learning for Classification and Preference Learning".
    """
    check_integer("samples", samples, at_least=2)
    check_integer("seed", seed, at_least=0)
    check_choice("masks", masks, MASKS)
    pure, model = _functional(model)
    reads = _probabilities(model, activation, from_logits)
    call = call_with_dropout(model, pure)
    if masks == "fixed":
        call = for_each_example(call)
    statistics = sample_statistics(call, seed_states(pure), reads, samples)
    length = EpochLength(None, "steps", continues=False)
    adapter = as_input_adapter(x, batch_size, default=EVALUATION_BATCH_SIZE, length=length)
    found = _of_batches(statistics, adapter, seed, renewed=masks == "fresh")
    return UncertainPrediction(*found, *[None] * (4 - len(found)))


def _functional(model: Any) -> tuple[FunctionalModel, Any]:
    """Return a Keras model, or that of a trainer, as a function with its values, and itself."""
    weights = None
    if isinstance(model, Trainer):
        weights, model = model.weights, model.model
    if isinstance(model, FunctionalModel):
        raise TypeError(
            "mc_predict takes a Keras model, whose dropout can be switched on alone: call the "
            "apply_fn of a FunctionalModel with training=True instead"
        )
    pure = functional_from_keras(model)
    if (stateful := stateful_layer(model)) is not None:
        raise ValueError(
            f"layer {stateful[0]!r} is stateful, so that its samples would depend on their order: "
            "build the model with stateful=False"
        )
    if len(getattr(model, "outputs", None) or [None]) != 1:
        raise ValueError(
            "mc_predict takes a model of one output: make one of each by keras.Model(model.inputs, "
            "model.outputs[0])"
        )
    if weights is not None:
        pure = pure._replace(params=_cast(weights[0], pure.params))
        pure = pure._replace(model_state=_cast(weights[1], pure.model_state))
    return pure, model


def _cast(values: Any, like: Any) -> Any:
    """Return the values of a trainer in the dtypes of its Keras model."""
    check_same_structure("the model", like, "its trainer's state", values)
    return tf.nest.map_structure(lambda x, y: tf.cast(x, y.dtype), values, like)


def _probabilities(model: Any, activation: str | None, from_logits: bool | None) -> Probabilities:
    """Return how the outputs of a model are read.

    Raises:
        ValueError: the last layer does not show it, or shows something else.
    """
    check_from_logits(from_logits)
    ending = final_activation(model)
    if activation is None:
        if from_logits:
            raise ValueError("from_logits needs activation, 'softmax' or 'sigmoid'")
        return Probabilities(ending if ending in ACTIVATIONS else None, False)
    check_choice("activation", activation, ACTIVATIONS)
    if ending in ACTIVATIONS and (from_logits or ending != activation):
        raise ValueError(
            f"the model ends in {ending}, whose outputs are probabilities: leave out activation "
            "and from_logits"
        )
    if from_logits is None:
        if ending is None:
            raise ValueError(
                f"the model does not show whether its outputs are logits: give activation="
                f"{activation!r} with from_logits=True or from_logits=False"
            )
        from_logits = ends_in_logits(ending, activation)
    return Probabilities(activation, from_logits)


def _of_batches(
    statistics: Any, adapter: DataAdapter, seed: int, renewed: bool
) -> list[np.ndarray]:
    """Return the statistics of all batches; `renewed`: each batch has its own masks."""
    program: Any = None
    parts: list[list[np.ndarray]] = []
    for chunk in adapter.evaluation():
        if program is None:
            signature = [tf.TensorSpec([2], tf.int64), specs_of(chunk.examples)[0]]
            program = tf.function(statistics, input_signature=signature, autograph=False)
            program.get_concrete_function()  # TensorFlow counts a tracing call as a retrace
        for start in range(0, chunk.stop, chunk.rows):
            stop = min(start + chunk.rows, chunk.stop)
            batch = tf.nest.map_structure(lambda a: a[start:stop], chunk.examples[0])  # noqa: B023
            key = tf.constant([seed, len(parts) if renewed else 0], tf.int64)
            parts.append([x.numpy() for x in program(key, batch)])
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
