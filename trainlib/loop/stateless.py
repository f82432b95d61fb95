"""Keras models as pure functions of dicts of tensors, named by the variables' paths."""

from __future__ import annotations

import inspect
import itertools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.base import Tensor, Tree
from trainlib.step import ApplyFn, Forward

SEED_STATE = "seed_generator_state"
"""The name that Keras gives to the variable of each of its random generators."""


class Stateless(NamedTuple):
    """A model for `Trainer`: its function, its parameters and its other state."""

    apply_fn: ApplyFn
    params: Tree
    model_state: Tree = ()


def from_keras(model: Any, seed: int = 0) -> Stateless:
    """A built Keras model as a pure function, with the values that its variables have now.

    Dropout's generators start from `seed` and not from where the model left them, so that a run
    follows from its seed alone.

    Raises:
        TypeError: it is no Keras model.
        ValueError: the model is not built, or two of its variables have one path.
    """
    if not hasattr(model, "stateless_call"):
        raise TypeError(f"model must be a Keras model or a Stateless, got {model!r}")
    if not model.built:
        raise ValueError(
            "the model has no variables yet: begin it with keras.Input(...) or call "
            "model.build(input_shape)"
        )
    trained, kept = variables(model)
    keywords = inspect.signature(model.call).parameters
    has_mode = "training" in keywords or any(p.kind is p.VAR_KEYWORD for p in keywords.values())

    def apply_fn(params: Tree, model_state: Tree, x: Tensor, training: bool) -> Forward:
        mode = {"training": training} if has_mode else {}
        y_pred, values, penalties = model.stateless_call(
            [params[path] for path in trained],
            [model_state[path] for path in kept],
            x,
            return_losses=True,
            **mode,
        )
        penalty = tf.add_n(penalties) if penalties else 0.0
        return Forward(y_pred, dict(zip(kept, values, strict=True)), penalty)

    params = {path: tf.convert_to_tensor(v.value) for path, v in trained.items()}
    model_state = {path: tf.convert_to_tensor(v.value) for path, v in kept.items()}
    generators = [path for path in kept if path.startswith(SEED_STATE)]
    for path, start in zip(generators, _seeds(seed, len(generators)), strict=True):
        model_state[path] = tf.constant([start, 0], model_state[path].dtype)
    return Stateless(apply_fn, params, model_state)


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
