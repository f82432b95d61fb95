"""Hyperparameters in the state, where a loop can change them between steps without a new trace."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.conventions import default_of
from trainlib.core.tree import float64
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree
from trainlib.transforms.chain import update_with
from trainlib.transforms.states import find_states, map_states

Factory: TypeAlias = Callable[..., Optimizer]


class InjectState(NamedTuple):
    """step: calls made, int64 []. hyperparams: by name, float64 []. inner: the optimizer's."""

    step: Tensor
    hyperparams: dict[str, Tensor]
    inner: State


def inject_hyperparams(factory: Factory) -> Factory:
    """The factory, with its optimizer's hyperparameters in the state.

        tx = inject_hyperparams(adamw)(learning_rate=1e-3, weight_decay=0.01)
        state = tx.init(params)
        state = set_hyperparams(state, learning_rate=1e-4)

    Those in the state, as `state.hyperparams[name]`: each number, scalar tensor or schedule that
    the call gives for an argument annotated as a float or as a rate, and the learning rate, given
    or not. All else is fixed: strings, bools, whole numbers that choose how much to compute,
    masks, and what is left to the default or the convention. A schedule is evaluated at the
    state's step; the state records the value of the last update, and setting it has no effect.

    Args:
        factory: a function that returns an `Optimizer`: `adam`, `clip_by_norm`, or one's own.

    Raises:
        ValueError, TypeError: what the factory raises for the hyperparameters as they are given.

    Differs from: Optax, which puts the defaults of all numeric arguments in the state too.
    """
    signature = inspect.signature(factory)

    @functools.wraps(factory)
    def injected(*args: Any, **keywords: Any) -> Optimizer:
        factory(*args, **keywords)  # Raises for values out of range: tensors are not checked.
        given = dict(signature.bind(*args, **keywords).arguments)
        if "learning_rate" in signature.parameters:
            given.setdefault(
                "learning_rate", default_of(factory, "learning_rate", given.get("convention"))
            )
        moving = {name: x for name, x in given.items() if is_moving(signature, name, x)}
        fixed = {name: x for name, x in given.items() if name not in moving}
        return hyperparams_in_state(lambda values: factory(**fixed, **values), moving)

    return injected


def hyperparams_in_state(
    build: Callable[[Mapping[str, Tensor]], Optimizer], hyperparams: Mapping[str, ScalarOrSchedule]
) -> Optimizer:
    """The optimizer that `build` makes of the values of hyperparameters, these in the state."""

    def values_at(step: Tensor, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: float64(x(step)) if callable(x) else values[name]
            for name, x in hyperparams.items()
        }

    def init(params: Tree) -> InjectState:
        step = tf.zeros([], tf.int64)
        numbers = {name: float64(x) for name, x in hyperparams.items() if not callable(x)}
        values = values_at(step, numbers)
        return InjectState(step, values, build(values).init(params))

    def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, InjectState]:
        values = values_at(state.step, state.hyperparams)
        updates, inner = update_with(build(values), grads, state.inner, params, **extra)
        return updates, InjectState(state.step + 1, values, inner)

    return Optimizer(init, update)


def set_hyperparams(state: State, **hyperparams: float) -> State:
    """The state with other values of hyperparameters, as tensors: a function is not traced anew.

        state = set_hyperparams(state, learning_rate=1e-4)

    Args:
        state: of `inject_hyperparams` or `param_rules`, or of anything with one in it. Where it
            holds several, each that has the hyperparameter gets the value.
        hyperparams: numbers or scalar tensors by name.

    Raises:
        ValueError: a name that the state does not hold, with the nearest that it does.
        TypeError: something that is not a number.
    """
    held = {name for found in find_states(state, InjectState) for name in found.hyperparams}
    for name, value in hyperparams.items():
        check_choice("hyperparameter of this state", name, sorted(held))
        check_number(name, value)

    def change(found: InjectState) -> InjectState:
        new = {name: float64(x) for name, x in hyperparams.items() if name in found.hyperparams}
        return found._replace(hyperparams={**found.hyperparams, **new})

    return map_states(change, state, InjectState)


def held_hyperparams(state: State) -> dict[str, list[float]]:
    """The different values of each hyperparameter in a state, by name.

    It reads the state's values, so it is for loops and not for what is traced.
    """
    held: dict[str, list[float]] = {}
    for found in find_states(state, InjectState):
        for name, x in found.hyperparams.items():
            values = held.setdefault(name, [])
            if (value := float(tf.convert_to_tensor(x))) not in values:
                values.append(value)
    return held


def hyperparam(state: State, name: str) -> float:
    """The value that a hyperparameter has in a state; for loops, as `held_hyperparams`.

    Raises:
        ValueError: the state does not hold it, or with several values.
    """
    held = held_hyperparams(state)
    check_choice("hyperparameter of the optimizer's state", name, sorted(held))
    if len(held[name]) > 1:
        values = ", ".join(f"{x:g}" for x in held[name])
        raise ValueError(f"the optimizer's state holds several values of {name}: {values}")
    return held[name][0]


def is_moving(signature: inspect.Signature, name: str, value: Any) -> bool:
    """Whether an argument is a hyperparameter to hold in the state.

    The annotation tells a schedule from a mask, and a rate from a count of iterations.
    """
    annotation = signature.parameters[name].annotation
    if annotation is inspect.Parameter.empty:
        numeric = True
    else:
        text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        numeric = re.search(r"\b(float|ScalarOrSchedule|Tensor)\b", text) is not None
    return numeric and (_is_number(value) or tf.is_tensor(value) or callable(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
