"""Whether a loss takes logits or probabilities: inferred from the model, or given by the user.

A Keras loss trusts its `from_logits`, False by default: for a model that ends in logits it clips
them without a warning, and training fails. Here the layer that makes the outputs decides; if it
does not show which of the two they are, `from_logits` must be given.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras

import trainlib.losses as losses
from trainlib.core.types import Tensor
from trainlib.losses import Loss
from trainlib.losses.names import FROM_LOGITS, LOSSES
from trainlib.training.keras_losses import KerasLoss
from trainlib.training.model_ending import (
    PROBABILITIES,
    GraphLogits,
    ends_in_logits,
    final_activation,
    graph_logits,
)

OF_PROBABILITIES = (
    losses.categorical_generalized_cross_entropy,
    losses.dice,
    losses.kl_divergence,
    losses.tversky,
)
"""Losses that take probabilities only."""
ON_GRAPH_LOGITS = {
    losses.binary_crossentropy: "Sigmoid",
    losses.binary_focal_crossentropy: "Sigmoid",
    losses.categorical_crossentropy: "Softmax",
    losses.sparse_categorical_crossentropy: "Softmax",
}
"""Losses that Keras computes on the logits before an activation, by the operation of TensorFlow.

The activations of Keras keep their logits: a cross-entropy takes them whichever activation it was.
"""


def takes_logits(loss: Any) -> bool:
    """Return whether a loss of the registry has a form for logits."""
    name = getattr(loss, "__name__", "")
    return name in FROM_LOGITS and LOSSES[name] is loss


def check_from_logits(value: Any) -> None:
    """Raise `TypeError` unless a value is True, False or None."""
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"from_logits must be True, False or None, got {value!r}")


def loss_for_model(loss: Loss, model: Any, from_logits: bool | None = None) -> Loss:
    """Return the form of a loss that fits a model's outputs: on logits, or on probabilities.

    Cross-entropies are computed on the logits that a softmax or a sigmoid at the end of the model
    was applied to, as in Keras: probabilities would have to be clipped.

    Args:
        loss: a function `(y_true, y_pred) -> loss per example`. One of the registry, with options
            or without, is converted; other functions are returned as they are.
        model: a Keras model or a `FunctionalModel`.
        from_logits: whether the model ends in logits. Default: None, inferred from its last layer.

    Raises:
        ValueError: `from_logits` contradicts the model, or is for another loss. The returned
            function raises it where the model does not show what it ends in.
    """
    if _is_keras_loss_of_probabilities(loss):
        _check_probabilities(loss, model, from_logits)
        return loss
    _check_keras_loss(loss, model, from_logits)
    function, options = options_of(loss)
    stated = options.pop("from_logits", None) if takes_logits(function) else None
    if stated is not None:
        if from_logits not in (None, stated):
            raise ValueError(f"from_logits is {from_logits}, but the loss has {stated}: give one")
        from_logits = stated
    if function in OF_PROBABILITIES:
        _check_probabilities(function, model, from_logits)
        return loss
    if not takes_logits(function):
        if from_logits is not None:
            raise ValueError(
                f"from_logits is {from_logits}, but loss {_name(function)} has no form for logits"
            )
        return loss
    return _on_logits(function, options, final_activation(model), from_logits)


def logits_activation(loss: Loss | None, model: Any, from_logits: bool | None = None) -> str | None:
    """Return the activation of the outputs that a loss takes as logits; None if it does not.

    Args:
        loss: the loss function, from `resolve_loss`; None for none.
        model: a Keras model or a `FunctionalModel`.
        from_logits: whether the model ends in logits. Default: None, inferred from its last layer.

    Returns:
        "softmax" or "sigmoid", which makes the probabilities.
    """
    keras_loss = _keras_loss(loss)
    if keras_loss is not None:
        is_object = isinstance(keras_loss, keras.Loss)
        stated = is_object and keras_loss.get_config().get("from_logits")
        return link(type(keras_loss).__name__.lower()) if stated else None
    function, options = options_of(loss)
    if not takes_logits(function):
        return None
    activation = link(_name(function))
    stated = options.get("from_logits", from_logits)
    if stated is None:
        stated = ends_in_logits(final_activation(model), activation)
    return activation if stated else None


def loss_name(loss: Loss) -> str:
    """Return the name of a resolved loss, the same for a function and for Keras's class of it."""
    source = _keras_loss(loss)
    return _name(options_of(loss)[0] if source is None else source).replace("_", "").lower()


def options_of(function: Any) -> tuple[Any, dict[str, Any]]:
    """Return the function that a partial one calls, and its options by name."""
    if isinstance(function, functools.partial) and not function.args:
        return function.func, dict(function.keywords)
    return function, {}


def _keras_loss(loss: Any) -> Any:
    """Return the object or the function of Keras that a resolved loss calls; None for others."""
    return loss.source if isinstance(loss, KerasLoss) else None


def _is_keras_loss_of_probabilities(loss: Any) -> bool:
    """Return whether a resolved loss is the counterpart in Keras of one in OF_PROBABILITIES."""
    found = _keras_loss(loss)
    if found is None:
        return False
    kinds = type(found).__mro__ if isinstance(found, keras.Loss) else [found]
    names = {function.__name__.replace("_", "") for function in OF_PROBABILITIES}
    return any(
        x.__module__.startswith("keras.") and x.__name__.replace("_", "").lower() in names
        for x in kinds
    )


def _check_keras_loss(loss: Any, model: Any, from_logits: bool | None) -> None:
    """Raise `ValueError` where a loss of Keras for probabilities would be given logits."""
    found = _keras_loss(loss)
    if found is None:
        return
    if isinstance(found, keras.Loss):
        stated, name = found.get_config().get("from_logits"), type(found).__name__
        instead = f"{name}(from_logits=True)"
    else:
        parameter = inspect.signature(found).parameters.get("from_logits")
        stated, name = parameter and parameter.default, f"keras.losses.{found.__name__}"
        instead = f"the name {found.__name__!r}"
    if stated is not False:
        return
    if from_logits or (from_logits is None and final_activation(model) == "linear"):
        raise ValueError(
            f"{name} has from_logits=False, but the model ends in logits: give {instead}, or end "
            "the model with a softmax or a sigmoid"
        )


def _check_probabilities(function: Any, model: Any, from_logits: bool | None) -> None:
    """Raise `ValueError` where a loss of probabilities would be given logits."""
    ending = final_activation(model) if from_logits is None else None
    if from_logits or ending in ("linear", "log_softmax"):
        raise ValueError(
            f"loss {_name(function)} takes probabilities, but the model ends in logits: end it "
            "with a softmax or a sigmoid; give from_logits=False if its outputs are probabilities"
        )


def _on_logits(
    function: Any, options: dict[str, Any], ending: str | None, from_logits: bool | None
) -> Loss:
    """Return a loss that takes logits or probabilities, for a model that ends in an activation."""
    name = _name(function)
    if from_logits and ending in PROBABILITIES:
        raise _contradiction(name, str(ending))
    if from_logits is None and ending in PROBABILITIES:
        from_logits = False
    elif from_logits is None and ends_in_logits(ending, link(name)):
        from_logits = True

    @functools.wraps(function)
    def loss_fn(y_true: Tensor, y_pred: Tensor) -> Tensor:
        made = graph_logits(y_pred)
        if made.operation and from_logits:
            raise _contradiction(name, made.operation.lower())
        if _are_taken(made, function):
            return function(y_true, made.logits, from_logits=True, **options)
        if from_logits is None and not made.operation:
            raise ValueError(
                f"loss {name} takes logits or probabilities, and the model does not show which it "
                "ends in: give from_logits=True or from_logits=False"
            )
        return function(y_true, y_pred, from_logits=bool(from_logits), **options)

    return loss_fn


def _are_taken(made: GraphLogits, function: Any) -> bool:
    """Return whether a loss is computed on the logits in place of the probabilities."""
    if function not in ON_GRAPH_LOGITS:
        return False
    is_focal = function is losses.binary_focal_crossentropy
    return made.operation == ON_GRAPH_LOGITS[function] or (made.kept and not is_focal)


def link(name: str) -> str:
    """Return the activation that makes probabilities of the logits of a loss, by its name."""
    return "softmax" if "categorical" in name else "sigmoid"


def _contradiction(name: str, activation: str) -> ValueError:
    return ValueError(
        f"from_logits is True, but the model ends in a {activation}: leave from_logits out, or end "
        f"the model of loss {name} without it"
    )


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
