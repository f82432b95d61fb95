"""The forward pass of a Keras model as a pure function of the values of its variables."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.tree import total
from trainlib.core.types import Tensor, Tree
from trainlib.step.state import ApplyFn, ModelOutput
from trainlib.training.adapted_layers import normalization_layers_of, with_current_statistics
from trainlib.training.batch_statistics import batch_norm_variables
from trainlib.training.embedding_rows import embeddings_of, nan_without_row
from trainlib.training.keras_private import all_layers, assigns_variables, mask_of
from trainlib.training.layer_calls import calls_through, takes_training
from trainlib.training.model_variables import model_variables
from trainlib.training.recurrent_inputs import multiply_inputs_first, recurrent_layers_of
from trainlib.training.reentry import reentered
from trainlib.training.replica_checks import check_penalties, check_state_of_part


def pure_call(
    model: Any,
    params: Sequence[str],
    model_state: Sequence[str],
    *,
    on_replicas: bool = False,
    gradient_checkpointing: bool = False,
) -> ApplyFn:
    """Return a model's call as a function of its variables' values, by path.

    The call is that of `model.fit`: `model(x, training=...)`. The result contains the values that
    the call assigns to variables. As in a `GradientTape`, the gradient of a trainable variable that
    is assigned is that with respect to the assigned value, and no gradient flows through assigned
    values.

    Args:
        model: the Keras model.
        params: paths of the trained variables, in the order of `model_variables`.
        model_state: paths of the other variables, in the order of `model_variables`.
        on_replicas: whether several replicas call it, each on its part of a batch. Default: False.
        gradient_checkpointing: whether the backward pass recomputes parts of the forward pass.
            Default: False.

    Raises:
        ValueError: the model has no parts to recompute; or from the function, if the call changes
            something that is not part of the state: a variable that belongs to no layer, a
            `tf.Variable`, a number or a tensor in an attribute. A tensor is accepted where the
            attribute had none, or one of another trace, which no later call can read. On replicas
            also if the call assigns a value that depends on the batch.
    """
    from trainlib.training.gradient_checkpointing import GradientCheckpointing
    from trainlib.training.variable_scope import VariableScope

    groups = zip((params, model_state), model_variables(model), strict=True)
    trained, kept = (dict(zip(names, found.values(), strict=True)) for names, found in groups)
    variables, has_mode = {**trained, **kept}, takes_training(model)
    embeddings, recurrent = embeddings_of(model), recurrent_layers_of(model)
    normalizations = normalization_layers_of(model)
    normalized = batch_norm_variables(model) if on_replicas else set()
    checkpointing = GradientCheckpointing(model, gradient_checkpointing)

    def apply_fn(params: Tree, model_state: Tree, x: Tensor, training: bool) -> ModelOutput:
        old, mode = {**params, **model_state}, {"training": training} if has_mode else {}
        given = [(variable, old[path]) for path, variable in variables.items()]
        with (
            VariableScope(given, trained.values()) as scope,
            _without_side_effects(model),
            reentered(lambda: calls_through(embeddings, nan_without_row)),
            reentered(lambda: calls_through(normalizations, with_current_statistics)),
            reentered(lambda: calls_through(recurrent, multiply_inputs_first, "inner_loop")),
            checkpointing.within(scope, training),
        ):
            y_pred = model(x, **mode)
            penalties = [*scope.losses, *_weight_penalties(trained, scope)]
        new = {path: scope.value_of(v) for path, v in variables.items()}
        assigned = [path for path in new if new[path] is not old[path]]
        if on_replicas:
            check_penalties(scope.losses, x)
            alone = [path for path in assigned if id(variables[path]) not in normalized]
            check_state_of_part({path: new[path] for path in alone}, x)
        return ModelOutput(
            y_pred,
            {path: new[path] for path in kept},
            total([_as_number(x) for x in penalties]) if penalties else 0.0,
            _mask_of(y_pred),
            {path: new[path] for path in trained}
            if any(path in trained for path in assigned)
            else None,
        )

    return apply_fn


def _weight_penalties(trained: dict[str, Any], scope: Any) -> list[Tensor]:
    """Return the penalties of the regularizers of trained variables, at their current values."""
    regularized = [v for v in trained.values() if v.regularizer is not None]
    return [v.regularizer(scope.get_current_value(v)) for v in regularized]


def _as_number(penalty: Tensor) -> Tensor:
    """Return a penalty as a floating scalar, the sum of its elements."""
    penalty = tf.convert_to_tensor(penalty)
    if not penalty.dtype.is_floating:
        penalty = tf.cast(penalty, tf.float32)
    return tf.reduce_sum(penalty) if penalty.shape.rank != 0 else penalty


def _mask_of(y_pred: Tree) -> Tree:
    """Return the masks that Keras keeps with the outputs; None if there are none."""
    masks = tf.nest.map_structure(mask_of, y_pred)
    return masks if any(mask is not None for mask in tf.nest.flatten(masks)) else None


@contextlib.contextmanager
def _without_side_effects(model: Any) -> Iterator[None]:
    """Context that raises `ValueError` if a forward pass changes more than Keras variables."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    first = 0 if graph is None else len(graph.get_operations())
    before = _attributes(model)
    yield
    for key, value in _attributes(model).items():
        if not _same(before.get(key, value), value):
            _, layer, name = key
            raise ValueError(
                f"layer {layer!r} assigns its attribute {name!r} in its call, which runs once for "
                "many steps, so that training cannot carry it: keep it in a variable, made by "
                f"self.{name} = self.add_weight(..., trainable=False); or, if the call does not "
                "read it, make it an output"
            )
    if graph is not None and assigns_variables(graph, first):
        held = [
            f"{name!r} of layer {layer.name!r}"
            for layer in all_layers(model)
            for name, value in vars(layer).items()
            if isinstance(value, tf.Variable)
        ]
        raise ValueError(
            f"the forward pass assigns a tf.Variable ({', '.join(held) or 'of no layer'}), which "
            "training cannot carry: make it by self.add_weight(..., trainable=False)"
        )


def _attributes(model: Any) -> dict[tuple[int, str, str], Any]:
    """Return the numbers and arrays in attributes of custom layers, by layer and name.

    The key of a layer is its id, and its name, which layers of nested models may share.
    """
    return {
        (id(layer), layer.name, name): value
        for layer in all_layers(model)
        if not type(layer).__module__.startswith("keras.")
        for name, value in vars(layer).items()
        if _is_array(value) or (isinstance(value, (int, float)) and not isinstance(value, bool))
    }


def _same(old: Any, new: Any) -> bool:
    """Return whether a pass left an attribute as it was, or replaced a tensor of another graph.

    Such a tensor can be read in its own graph only, so that no later pass depends on it.
    """
    if _is_array(old) or _is_array(new):
        return old is new or (tf.is_symbolic_tensor(old) and tf.is_symbolic_tensor(new))
    return bool(old == new)


def _is_array(value: Any) -> bool:
    """Return whether a value is a tensor or an array."""
    return isinstance(value, (tf.Tensor, np.ndarray))
