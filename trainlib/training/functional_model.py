"""Keras models as pure functions of dicts of tensors, named by the variables' paths."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.tree import leaves_by_path
from trainlib.core.types import Tree
from trainlib.step.precision import Precision, cast_floating, in_precision, precision_named
from trainlib.step.state import ApplyFn, ModelOutput
from trainlib.training.batch_statistics import synchronize
from trainlib.training.keras_call import pure_call
from trainlib.training.keras_private import all_layers, set_mask
from trainlib.training.layer_numbers import layer_numbers, with_numbers
from trainlib.training.model_variables import SEED_STATE, model_variables
from trainlib.training.recast import recast
from trainlib.training.replica_checks import check_penalties, check_state_of_part


class FunctionalModel(NamedTuple):
    """A model as a function, its parameters and its other state; `Trainer` takes it.

    Attributes:
        apply_fn: `(params, model_state, x, training) -> ModelOutput`.
        params: structure of the parameters, floating tensors.
        model_state: structure of other tensors that the function returns updated, such as batch
            statistics. Default: ().

    Example:
        >>> def line(params, model_state, x, training):
        ...     return tl.ModelOutput(x @ params["w"] + params["b"], model_state)
        >>> model = tl.FunctionalModel(line, {"w": tf.ones([2, 1]), "b": tf.zeros([1])})
        >>> output = model.apply_fn(model.params, (), tf.ones([1, 2]), training=False)
        >>> output.y_pred.numpy().tolist()
        [[2.0]]
    """

    apply_fn: ApplyFn
    params: Tree
    model_state: Tree = ()


def as_functional_model(
    model: Any,
    seed: int = 0,
    precision: str | None = None,
    *,
    synchronized: bool = False,
    open_numbers: bool = False,
    gradient_checkpointing: bool = False,
) -> FunctionalModel:
    """Return a Keras model, or a `FunctionalModel`, as a `FunctionalModel` in a precision.

    Parameters, state and inputs of a `FunctionalModel` are cast around its function, as
    `in_precision` does; with a precision of None it is returned as it is.

    Args:
        model: a built Keras model, or a `FunctionalModel`.
        seed: seed of a Keras model's dropout. Default: 0.
        precision: as in `functional_from_keras`. Default: None, the precision of the model.
        synchronized: as in `functional_from_keras`; the function of a `FunctionalModel` then raises
            `ValueError` for state that depends on x, and for penalties that are not means over
            the examples. Default: False.
        open_numbers: as in `functional_from_keras`. Default: False.
        gradient_checkpointing: as in `functional_from_keras`. Default: False.

    Raises:
        TypeError: it is neither of the two.
        ValueError: as in `functional_from_keras`; or `gradient_checkpointing` is set for a
            `FunctionalModel`, or its function is a `tf.function` and `synchronized` is set.
    """
    if not isinstance(model, FunctionalModel):
        return functional_from_keras(
            model,
            seed,
            precision,
            synchronized=synchronized,
            open_numbers=open_numbers,
            gradient_checkpointing=gradient_checkpointing,
        )
    if gradient_checkpointing:
        raise ValueError(
            "gradient_checkpointing is for Keras models: in your own function call the parts to "
            "recompute by tf.recompute_grad(part)(x, parameters of the part)"
        )
    if synchronized and hasattr(model.apply_fn, "get_concrete_function"):
        raise ValueError(
            "apply_fn is a tf.function, in which the penalty and the state cannot be checked for "
            "several replicas: pass the Python function, which the trainer compiles"
        )
    made: FunctionalModel = model
    if precision is not None:
        policy = precision_named(precision)
        params, model_state = cast_floating((made.params, made.model_state), policy.param_dtype)
        made = FunctionalModel(in_precision(made.apply_fn, policy), params, model_state)
    return made._replace(apply_fn=_checked(made.apply_fn)) if synchronized else made


def _checked(apply_fn: ApplyFn) -> ApplyFn:
    """Return a function that raises `ValueError` for what a replica's part cannot give."""

    def apply(params: Tree, model_state: Tree, x: Tree, training: bool) -> ModelOutput:
        output = apply_fn(params, model_state, x, training=training)
        check_penalties([output.penalty], x)
        check_state_of_part(dict(leaves_by_path(output.model_state)), x)
        if output.params is not None:
            check_state_of_part(dict(leaves_by_path(output.params)), x)
        return output

    return apply


def built_precision(model: Any) -> str | None:
    """Return the mixed precision that layers of a Keras model compute in; None for any other."""
    if isinstance(model, FunctionalModel):
        return None
    dtypes = {layer.compute_dtype for layer in all_layers(model)}
    return next((f"mixed_{d}" for d in ("float16", "bfloat16") if d in dtypes), None)


def functional_from_keras(
    model: Any,
    seed: int = 0,
    precision: str | None = None,
    *,
    synchronized: bool = False,
    open_numbers: bool = False,
    gradient_checkpointing: bool = False,
) -> FunctionalModel:
    """Return a built Keras model as a pure function, with the current values of its variables.

    Dropout starts from `seed`, not from the state of the model's generators, so that a run depends
    on its seed only.

    With `precision` the function computes in the compute dtype of that policy, whatever policy the
    model was built in. Parameters, their gradients, batch statistics, penalties and outputs have
    the dtype of the parameters; so have the layers that make the outputs, softmax layers, and
    layers that scale or encode inputs. Neither the model nor Keras's global policy is changed.

    Args:
        model: a built Keras model. Unless it was built in the precision, a model with a custom
            `call` must be reproducible by `from_config` from its `get_config()`; all of its layers
            then use the compute dtype, and its inputs are cast to it, as in Keras.
        seed: seed of the dropout. Default: 0.
        precision: "float32", "float64", "mixed_bfloat16" or "mixed_float16". Default: None, the
            precision that the model was built in.
        synchronized: whether batch normalization takes its statistics over all replicas. Default:
            False.
        open_numbers: whether numbers of layers, such as dropout rates, are values of the state.
            Default: False.
        gradient_checkpointing: whether the backward pass recomputes activations of graphs of
            layers. Layers that were made in a `keras.RematScope` are recomputed in any case.
            Default: False.

    Raises:
        TypeError: it is not a Keras model.
        ValueError: the model is not built, two variables have the same path, the precision is
            unknown, the model cannot be made in it, or it has no parts to recompute.
    """
    if not hasattr(model, "stateless_call"):
        raise TypeError(f"model must be a Keras model or a FunctionalModel, got {model!r}")
    if not model.built:
        raise ValueError(
            "the model has no variables yet: start it with keras.Input(...) or call "
            "model.build(input_shape)"
        )
    trained, kept = model_variables(model)
    params = {path: tf.convert_to_tensor(v.value) for path, v in trained.items()}
    model_state = {path: tf.convert_to_tensor(v.value) for path, v in kept.items()}
    generators = [path for path in kept if path.startswith(SEED_STATE)]
    for path, start in zip(generators, _seeds(seed, len(generators)), strict=True):
        model_state[path] = tf.constant([start, 0], model_state[path].dtype)
    policy = None if precision is None else precision_named(precision)
    called = model if policy is None else recast(model, policy)
    if synchronized:
        synchronize(called)
    apply_fn = pure_call(
        called,
        list(params),
        list(model_state),
        on_replicas=synchronized,
        gradient_checkpointing=gradient_checkpointing,
    )
    if open_numbers:
        apply_fn = with_numbers(apply_fn, called)
        model_state |= layer_numbers(called)
    if policy is None:
        return FunctionalModel(apply_fn, params, model_state)
    params, model_state = cast_floating((params, model_state), policy.param_dtype)
    return FunctionalModel(_with_wide_inputs_and_outputs(apply_fn, policy), params, model_state)


def _with_wide_inputs_and_outputs(apply_fn: ApplyFn, policy: Precision) -> ApplyFn:
    """Return the function with floating inputs and outputs in the parameters' dtype."""

    def apply(params: Tree, model_state: Tree, x: Tree, training: bool) -> ModelOutput:
        x = cast_floating(x, policy.param_dtype)
        output = apply_fn(params, model_state, x, training)
        y_pred, penalty = cast_floating((output.y_pred, output.penalty), policy.param_dtype)
        return output._replace(y_pred=_with_masks(y_pred, output.mask), penalty=penalty)

    return apply


def _with_masks(y_pred: Tree, masks: Tree) -> Tree:
    """Return predictions with their masks in the attribute from which Keras's losses read them."""
    if masks is not None:
        for x, mask in zip(tf.nest.flatten(y_pred), tf.nest.flatten(masks), strict=True):
            set_mask(x, mask)
    return y_pred


def _seeds(seed: int, count: int) -> list[int]:
    """Return the seeds of `count` generators, far apart whatever the seed."""
    states = np.random.SeedSequence(abs(seed)).generate_state(count)
    return [int(state) % (2**31 - 1) for state in states]
