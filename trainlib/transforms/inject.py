"""Hyperparameters held in the state, where a loop can change them without a retrace."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.tree import float64
from trainlib.core.types import (
    Optimizer,
    ScalarOrSchedule,
    State,
    Tensor,
    Tree,
    forwarded_args,
    update_with,
)
from trainlib.transforms.factory_arguments import (
    Factory,
    by_name,
    check_schedules,
    default_argument,
    first_values,
    is_custom,
    is_injected,
    replaced,
)
from trainlib.transforms.states import find_states, map_states


class InjectState(NamedTuple):
    """State of an optimizer made by `inject_hyperparams`.

    Attributes:
        step: updates made, int64, shape [].
        hyperparams: the hyperparameters by name, float64, shape [].
        inner: the state of the optimizer itself.
    """

    step: Tensor
    hyperparams: dict[str, Tensor]
    inner: State


def inject_hyperparams(factory: Factory) -> Factory:
    """Return the factory, with the hyperparameters of its optimizers held in the state.

    They can then be changed between updates without a retrace: see `set_hyperparams`. The state
    holds the arguments of the call that are declared as floating numbers, such as `beta_1`, and the
    learning rate, given or by default. All other defaults are fixed, and so is what is declared as
    an integer, a bool, a string or a structure.

    Each of these arguments may be a schedule, a function of the step: `momentum`, `beta_2`,
    `epsilon`, `weight_decay`, `clipnorm`. It is evaluated at the state's step, and an update is
    that of the optimizer with the numbers of this step. The state holds the value of the last
    update; setting it has no effect. The range of a schedule is checked at step 0 only.

    A parameter of your own factory counts as declared if trainlib's optimizers have one of that
    name. Any other is decided by its argument: floats, floating tensors and functions are held;
    integers and everything else are fixed. A function is taken for a schedule, unless the
    parameter's default is a function too. The factory is called for every update, with scalar
    tensors: in the dtype of the parameters, the widest if they have several, if it is yours; in
    float64 if it is trainlib's, whose optimizers round them themselves. It must not branch on
    their values.

    Args:
        factory: a function that returns an `Optimizer`: `adam`, `clip_by_norm`, or your own.

    Returns:
        A function with the factory's parameters, whose optimizers have an `InjectState`.

    Raises:
        ValueError: the returned function raises it for a hyperparameter out of its range.
        TypeError: the returned function raises it for an argument of the wrong type, and for a
            schedule of an integer, a bool or a string.

    Example:
        >>> tx = tl.inject_hyperparams(tl.adamw)(learning_rate=1e-3, weight_decay=0.01)
        >>> state = tx.init({"w": tf.ones([2])})
        >>> {name: float(x) for name, x in state.hyperparams.items()}
        {'learning_rate': 0.001, 'weight_decay': 0.01}
        >>> state = tl.set_hyperparams(state, learning_rate=1e-4)
        >>> float(state.hyperparams["learning_rate"])
        0.0001
        >>> rising = tl.polynomial_decay(0.85, 1000, end_learning_rate=0.95)
        >>> tx = tl.inject_hyperparams(tl.sgd)(0.1, momentum=rising)
        >>> round(float(tx.init({"w": tf.ones([2])}).hyperparams["momentum"]), 4)
        0.85

    Differences:
        Optax: the defaults of all numeric parameters are held too, and the argument alone decides;
            schedules of integers are evaluated, but not held.
    """
    signature = inspect.signature(factory)

    @functools.wraps(factory)
    def injected(*args: Any, **keywords: Any) -> Optimizer:
        call = signature.bind(*args, **keywords)
        if "learning_rate" in signature.parameters:
            convention = call.arguments.get("convention")
            default = default_argument(factory, "learning_rate", convention)
            call.arguments.setdefault("learning_rate", default)
        given = by_name(call)
        check_schedules(factory, given)
        moving = {name: x for name, x in given.items() if is_injected(factory, name, x)}
        # Raises for values out of range: tensors are not checked.
        first = _with(call, first_values(factory, moving))
        return hyperparams_in_state(
            lambda values: _with(call, values), moving, forwarded_args(first), is_custom(factory)
        )._replace(by_row=first.by_row)

    def _with(call: inspect.BoundArguments, values: Mapping[str, Any]) -> Optimizer:
        call = replaced(call, values)
        return factory(*call.args, **call.kwargs)

    return injected


def hyperparams_in_state(
    build: Callable[[Mapping[str, Tensor]], Optimizer],
    hyperparams: Mapping[str, ScalarOrSchedule],
    extra_args: tuple[str, ...] = (),
    in_params_dtype: bool = False,
) -> Optimizer:
    """Return an optimizer that holds hyperparameters in its state, as an `InjectState`.

    Args:
        build: makes the optimizer of the current values of the hyperparameters, by name.
        hyperparams: the initial values: numbers, scalar tensors or schedules.
        extra_args: the extra arguments that the optimizers made by `build` declare. Default: none.
        in_params_dtype: whether `build` gets the values in the parameters' dtype, the widest if
            they have several, instead of float64. Default: False.
    """

    def values_at(step: Tensor, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: float64(x(step)) if callable(x) else values[name]
            for name, x in hyperparams.items()
        }

    def optimizer(values: dict[str, Tensor], params: Tree) -> Optimizer:
        if not in_params_dtype:
            return build(values)
        dtypes = [tf.convert_to_tensor(w).dtype for w in tf.nest.flatten(params) if w is not None]
        widest = max(dtypes, key=lambda dtype: dtype.size, default=tf.float64)
        return build({name: tf.cast(x, widest) for name, x in values.items()})

    def init(params: Tree) -> InjectState:
        step = tf.zeros([], tf.int64)
        numbers = {name: float64(x) for name, x in hyperparams.items() if not callable(x)}
        values = values_at(step, numbers)
        return InjectState(step, values, optimizer(values, params).init(params))

    def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, InjectState]:
        values = values_at(state.step, state.hyperparams)
        updates, inner = update_with(optimizer(values, params), grads, state.inner, params, **extra)
        return updates, InjectState(state.step + 1, values, inner)

    return Optimizer(init, update, extra_args)


def set_hyperparams(state: State, **hyperparams: float) -> State:
    """Return the state with new values of hyperparameters, for which no function is retraced.

    Args:
        state: the state of `inject_hyperparams` or `param_rules`, or any state with one in it.
            If it has several, every one that holds the hyperparameter gets the value.
        hyperparams: numbers or scalar tensors by name.

    Returns:
        A state of the same structure.

    Raises:
        ValueError: the state does not hold a hyperparameter of that name; the message has the
            nearest one.
        TypeError: a value is not a number.

    Example:
        >>> tx = tl.chain(tl.clip_by_norm(1.0), tl.inject_hyperparams(tl.sgd)(0.1))
        >>> state = tl.set_hyperparams(tx.init({"w": tf.ones([2])}), learning_rate=0.5)
        >>> float(state[1].hyperparams["learning_rate"])
        0.5
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
    """Return the distinct values of each hyperparameter in a state, by name.

    It reads the values of tensors, so it does not work in a traced function.

    Args:
        state: any state; without an `InjectState` in it the result is {}.
    """
    held: dict[str, list[float]] = {}
    for found in find_states(state, InjectState):
        for name, x in found.hyperparams.items():
            values = held.setdefault(name, [])
            if (value := float(tf.convert_to_tensor(x))) not in values:
                values.append(value)
    return held


def with_hyperparams_of(state: State, other: State) -> State:
    """Return a state with the hyperparameters that another state of the same optimizer holds."""
    held = iter([found.hyperparams for found in find_states(other, InjectState)])
    return map_states(lambda found: found._replace(hyperparams=next(held)), state, InjectState)


def hyperparam(state: State, name: str) -> float:
    """Return the value of a hyperparameter in a state. It does not work in a traced function.

    Args:
        state: a state with an `InjectState` in it.
        name: the name of the hyperparameter.

    Raises:
        ValueError: the state does not hold the hyperparameter, or holds several values of it.
    """
    held = held_hyperparams(state)
    check_choice("hyperparameter of the optimizer's state", name, sorted(held))
    if len(held[name]) > 1:
        values = ", ".join(f"{x:g}" for x in held[name])
        raise ValueError(f"the optimizer's state holds several values of {name}: {values}")
    return held[name][0]
