"""Keras models as pure functions of dicts of tensors, named by the variables' paths."""

from __future__ import annotations

import inspect
import itertools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.tree import total
from trainlib.core.types import Tensor, Tree
from trainlib.step.precision import Precision, cast_floating, in_precision, precision_named
from trainlib.step.state import ApplyFn, ModelOutput
from trainlib.training.batch_statistics import synchronize
from trainlib.training.recast import recast

SEED_STATE = "seed_generator_state"
"""The name that Keras gives to the variable of each of its random generators."""


class FunctionalModel(NamedTuple):
    """A model for `Trainer`: its function, its parameters and its other state."""

    apply_fn: ApplyFn
    params: Tree
    model_state: Tree = ()


def as_functional_model(
    model: Any, seed: int = 0, precision: str | None = None, synchronized: bool = False
) -> FunctionalModel:
    """Return a Keras model, or a `FunctionalModel`, as a `FunctionalModel` in a precision.

    Parameters, state and inputs of a `FunctionalModel` are cast around its function, as
    `in_precision` says; with a precision of None it is left as it is.

    Raises:
        TypeError: it is neither.
        ValueError: an unknown precision; a model as in `from_keras`.
    """
    if not isinstance(model, FunctionalModel):
        return from_keras(model, seed, precision, synchronized)
    if precision is None:
        return model
    policy = precision_named(precision)
    params, model_state = cast_floating((model.params, model.model_state), policy.param_dtype)
    return FunctionalModel(in_precision(model.apply_fn, policy), params, model_state)


def from_keras(
    model: Any, seed: int = 0, precision: str | None = None, synchronized: bool = False
) -> FunctionalModel:
    """A built Keras model as a pure function, with the values that its variables have now.

    Dropout's generators start from `seed` and not from where the model left them, so that a run
    follows from its seed alone.

    In a precision the function computes in its compute dtype, whatever policy the model was built
    in; parameters, their gradients, batch statistics, penalties and outputs have the dtype of its
    parameters, and so has the arithmetic of the layers that make the outputs, of softmax layers,
    and of those that scale inputs. The model itself is not changed, nor is Keras's global policy.

    Args:
        model: the model. One with a `call` of its own must be one that `from_config` can make
            from its `get_config()`, unless it was built in the precision. Its last layer computes
            as the others do, and it is given its inputs in the parameters' dtype.
        seed: of the dropout.
        precision: "float32", "float64", "mixed_bfloat16" or "mixed_float16"; None for what the
            model was built in.

        synchronized: whether batch normalization takes its statistics over all replicas, where
            there are several.

    Raises:
        TypeError: it is no Keras model.
        ValueError: the model is not built, two of its variables have one path, the precision is
            unknown, or the model cannot be had in it.
    """
    if not hasattr(model, "stateless_call"):
        raise TypeError(f"model must be a Keras model or a FunctionalModel, got {model!r}")
    if not model.built:
        raise ValueError(
            "the model has no variables yet: begin it with keras.Input(...) or call "
            "model.build(input_shape)"
        )
    trained, kept = variables(model)
    params = {path: tf.convert_to_tensor(v.value) for path, v in trained.items()}
    model_state = {path: tf.convert_to_tensor(v.value) for path, v in kept.items()}
    generators = [path for path in kept if path.startswith(SEED_STATE)]
    for path, start in zip(generators, _seeds(seed, len(generators)), strict=True):
        model_state[path] = tf.constant([start, 0], model_state[path].dtype)
    policy = None if precision is None else precision_named(precision)
    called = model if policy is None else recast(model, policy)
    if synchronized:
        synchronize(called)
    apply_fn = _pure(called, list(params), list(model_state))
    if policy is None:
        return FunctionalModel(apply_fn, params, model_state)
    params, model_state = cast_floating((params, model_state), policy.param_dtype)
    return FunctionalModel(_with_wide_ends(apply_fn, policy), params, model_state)


def _pure(model: Any, trained: list[str], kept: list[str]) -> ApplyFn:
    """The model's call as a function of its variables' values, which have these names."""
    keywords = inspect.signature(model.call).parameters
    has_mode = "training" in keywords or any(p.kind is p.VAR_KEYWORD for p in keywords.values())

    def apply_fn(params: Tree, model_state: Tree, x: Tensor, training: bool) -> ModelOutput:
        mode = {"training": training} if has_mode else {}
        y_pred, values, penalties = model.stateless_call(
            [params[path] for path in trained],
            [model_state[path] for path in kept],
            x,
            return_losses=True,
            **mode,
        )
        penalty = total(penalties) if penalties else 0.0
        return ModelOutput(y_pred, dict(zip(kept, values, strict=True)), penalty)

    return apply_fn


def _with_wide_ends(apply_fn: ApplyFn, policy: Precision) -> ApplyFn:
    """The function with floating inputs and outputs in the parameters' dtype."""

    def apply(params: Tree, model_state: Tree, x: Tree, training: bool) -> ModelOutput:
        x = cast_floating(x, policy.param_dtype)
        forward = apply_fn(params, model_state, x, training)
        y_pred, penalty = cast_floating((forward.y_pred, forward.penalty), policy.param_dtype)
        return ModelOutput(y_pred, forward.model_state, penalty)

    return apply


def write_back(model: Any, params: Tree, model_state: Tree) -> None:
    """Gives the Keras model's variables the values of a state."""
    trained, kept = variables(model)
    for path, variable in trained.items():
        variable.assign(params[path])
    for path, variable in kept.items():
        variable.assign(model_state[path])


def variables(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The trainable and the other variables by path, in the model's order.

    The model's own name is left off, which Keras puts in front in some models and not in others;
    random generators are numbered, for Keras names them by how many there were in the process.
    """
    named: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    generators = itertools.count()
    for group, names in zip(
        (model.trainable_variables, model.non_trainable_variables), named, strict=True
    ):
        for variable in group:
            path = variable.path.removeprefix(f"{model.name}/")
            if path.endswith(SEED_STATE):
                path = f"{SEED_STATE}_{next(generators)}"
            if path in named[0] or path in named[1]:
                raise ValueError(f"two variables of the model are named {path!r}: name its layers")
            names[path] = variable
    return named


def _seeds(seed: int, count: int) -> list[int]:
    """Starts of `count` generators, far apart whatever the seed."""
    states = np.random.SeedSequence(abs(seed)).generate_state(count)
    return [int(state) % (2**31 - 1) for state in states]
