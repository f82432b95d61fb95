"""A Keras model that averages the predictions of several models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from trainlib.core.checks import check_choice
from trainlib.models.structure import LOGITS_ACTIVATIONS, logits_model
from trainlib.tools.weighted_average import AVERAGES, ONE, SMALLEST, normalized_weights
from trainlib.training.model_ending import final_activation

MEMBER = "member_"
"""Prefix of the names of the models in an ensemble, before their numbers, from 1."""


def ensemble_model(
    members: Sequence[Any],
    weights: Any = None,
    average: str = "probabilities",
    name: str = "ensemble",
) -> Any:
    """Return a Keras model that averages the predictions of several.

        probabilities   f = sum of w_i f_i
        logits          f = softmax(sum of w_i z_i)

    It shares the variables of the models. It consists of layers and operations of Keras only, and
    can be saved, loaded and used without trainlib. The mean of probabilities is followed by a
    logarithm and a softmax, which cancel: the logarithm serves as logits, for losses and a
    temperature.

    Args:
        members: Keras models with the same inputs and one output.
        weights: w, a number of at least 0 for each, divided by their sum. Models of weight 0 are
            left out. Default: None, all equal.
        average: "probabilities", which is also for models that predict numbers, or "logits".
            Default: "probabilities".
        name: name of the model. Default: "ensemble".

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: no members, members with different inputs, outputs or activations, or an average
            of logits of models that do not end in a softmax or sigmoid.

    Example:
        >>> members = [tl.models.mlp((4,), 3, "softmax", hidden=()) for _ in range(2)]
        >>> from trainlib.tools.ensemble_model import ensemble_model
        >>> ensemble = ensemble_model(members)
        >>> x = np.ones([1, 4], "float32")
        >>> bool(np.allclose(ensemble(x), (members[0](x) + members[1](x)) / 2, atol=1e-6))
        True

    References:
        Lakshminarayanan et al. 2017, "Simple and Scalable Predictive Uncertainty Estimation Using
        Deep Ensembles"; Hansen and Salamon 1990, "Neural Network Ensembles".
    """
    check_choice("average", average, AVERAGES)
    activation = _check_members(members)
    if average == "logits" and activation is None:
        raise ValueError("average is logits, but the members do not end in a softmax or sigmoid")
    shares = normalized_weights(weights, len(members))
    used = [i for i, share in enumerate(shares) if share > 0]
    inputs = keras.tree.map_structure(_like, _inputs(members[0]))
    outputs = [_output(members[i], inputs, f"{MEMBER}{i + 1}", average == "logits") for i in used]
    y = _weighted_sum(outputs, [float(shares[i]) for i in used])
    if activation is not None:
        z = y if average == "logits" else _logits(y, activation)
        y = keras.layers.Activation(activation, name="probabilities")(z)
    return keras.Model(inputs, y, name=name)


def _check_members(members: Sequence[Any]) -> str | None:
    """Return the activation in which all members end, "softmax" or "sigmoid"; None for numbers."""
    if not members:
        raise ValueError("an ensemble needs at least one member")
    for i, member in enumerate(members):
        if not getattr(member, "inputs", None) or len(member.outputs) != 1:
            raise ValueError(
                f"member {i + 1} of the ensemble must be a model of layers with one output: begin "
                "it with keras.Input"
            )
    forms = [
        keras.tree.map_structure(lambda t: (t.shape, t.dtype), (_inputs(m), m.outputs))
        for m in members
    ]
    endings = [final_activation(member) for member in members]
    for i, (form, ending) in enumerate(zip(forms, endings, strict=True)):
        if str(form) != str(forms[0]) or _probabilities(ending) != _probabilities(endings[0]):
            raise ValueError(
                f"member {i + 1} of the ensemble has other inputs, outputs or another activation "
                "than member 1"
            )
    return _probabilities(endings[0])


def _probabilities(ending: str | None) -> str | None:
    return ending if ending in LOGITS_ACTIVATIONS else None


def _inputs(model: Any) -> Any:
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def _like(tensor: Any) -> Any:
    """Return inputs with the names, shapes and dtypes of a model's inputs."""
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)


def _output(member: Any, inputs: Any, name: str, as_logits: bool) -> Any:
    """Return the output of a member for these inputs, or its logits."""
    logits = logits_model(member) if as_logits else None
    model = member if logits is None else logits
    named = keras.Model(_inputs(model), model.outputs[0], name=name)
    y = named(inputs)
    if as_logits and logits is None:
        return _logits(y, str(final_activation(member)))
    return y


def _weighted_sum(outputs: list[Any], shares: list[float]) -> Any:
    if len(outputs) == 1:
        return outputs[0]
    if len(set(shares)) == 1:
        return keras.layers.Average(name="average")(outputs)
    scaled = [
        keras.layers.Rescaling(share, name=f"weight_{k + 1}")(y)
        for k, (y, share) in enumerate(zip(outputs, shares, strict=True))
    ]
    return keras.layers.Add(name="average")(scaled)


def _logits(p: Any, activation: str) -> Any:
    """Return logits of probabilities, finite."""
    p = keras.ops.maximum(p, SMALLEST)
    if activation == "softmax":
        return keras.ops.log(p)
    p = keras.ops.minimum(p, ONE)
    return keras.ops.subtract(keras.ops.log(p), keras.ops.log1p(keras.ops.negative(p)))
