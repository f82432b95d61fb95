"""`from_update_rule`, which makes an optimizer from an equation on one tensor, and `checked`.

How to write an optimizer. A file `optimizers/NAME.py` has three parts, in this order:

1. The equation, a function on one tensor in the letters of the paper:

       def heavy_ball_update(g: Tensor, v: Tensor, hp: Hyperparameters) -> tuple[Tensor, Tensor]:
           v = hp.momentum * v - hp.eta * g
           return v, v

   It takes the gradient `g`, one tensor for each slot, and `hp`; it returns the update, which is
   added to the parameter, and the new slots. `hp` holds `t`, the number of this update from 1;
   `eta`, the learning rate at this update; `w`, the parameter; and each hyperparameter by the name
   of the factory's argument. The gradient, the parameter and scalar tensors come in the compute
   dtype (float32 or wider); Python numbers stay numbers, which TensorFlow rounds once. A slot that
   is not in use is None, and is returned as None.

2. The state, a NamedTuple: `step`, then the slots. Its docstring lists them under `Attributes:`.

3. The factory, whose docstring has the equation (there only), `Args:` and the other sections:

       @conventions(keras={...}, paper={...})
       @checked
       def heavy_ball(learning_rate=0.01, momentum=0.9, *, ..., convention="keras") -> Optimizer:
           return from_update_rule(
               heavy_ball_update,
               HeavyBallState,
               slots={"v": zeros_like},
               learning_rate=learning_rate,
               hyperparameters={"momentum": momentum},
               weight_decay=WeightDecay(weight_decay, decay_form, decay_mask),
           )

   Ranges and choices are declared in `core/hyperparameters/optimizers.py`, and `checked` refuses
   what they exclude. The body checks only what concerns several arguments at once.

An equation that several optimizers share is a separate function, such as `adam_step` and
`sgd_update`; so are the hyperparameters that it reads (`adam_hyperparameters`,
`sgd_hyperparameters`). Scalars that are the same for all parameters, such as Nadam's product of
momenta, are computed by `prepare`. An update rule that decays the weights itself reads
`hp.weight_decay`: pass a `WeightDecay` with the form None. An optimizer that needs sums over all
parameters in the middle of its step, such as Prodigy, calls `map_update_rule` for each part and
makes its own `Optimizer`. One whose rule takes each element by itself may end in
`._replace(by_row=True)`, so that `lazy` takes it. Add a new factory to `optimizers/__init__.py`,
`registry.py` and `verify/optimizer_cases/`.
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_not_class
from trainlib.core.hyperparameters import check_declared, declared
from trainlib.core.tree import full_like, is_zero, leafwise, resolve_mask, scalar, widen
from trainlib.core.types import Optimizer, ScalarOrSchedule, State, Tensor, Tree, rate_at
from trainlib.transforms.decay import Mask, with_weight_decay


class Hyperparameters(SimpleNamespace):
    """What an update rule reads besides gradient and slots: t, eta, w and its hyperparameters."""


UpdateRule: TypeAlias = Callable[..., tuple[Any, ...]]
"""An equation on one tensor: `(g, *slots, hp) -> (update, *slots)`."""

Slot: TypeAlias = Callable[[Tree], Tree] | float | Tensor | None
"""The initial value of a field of the state.

A function of the parameters, such as `zeros_like`, gives a slot; a number or a scalar tensor a
float64 scalar for all parameters, which `prepare` may change; None stands for a slot that is not
in use, `()` in the state.
"""


SCHEDULED = {"learning_rate", "ademamix.beta_3", "ademamix.alpha"}
"""Hyperparameters that may be schedules, as `factory.name` where only that factory's may."""

Factory = TypeVar("Factory", bound=Callable[..., Optimizer])


class WeightDecay(NamedTuple):
    """Weight decay of an optimizer.

    Attributes:
        value: the coefficient, at least 0.
        form: a form of `with_weight_decay`; or None, where the update rule itself decays by
            `hp.weight_decay`, which is None for a parameter that does not decay (and for all
            parameters where a form is given).
        mask: the parameters that decay; None for all.
    """

    value: float
    form: str | None = None
    mask: Mask = None


def checked(factory: Factory) -> Factory:
    """Return the factory of an optimizer that checks its arguments by their declarations.

    The declarations are those of `trainlib.core.hyperparameters`. A tensor is not checked.

    Raises:
        ValueError: when the factory is called with a number out of its range or with a string that
            is none of the choices.
        TypeError: when it is called with something else than a number or an integer where one is
            declared.
    """
    signature = inspect.signature(factory)
    name = factory.__name__

    @functools.wraps(factory)
    def checking(*args: Any, **keywords: Any) -> Any:
        bound = signature.bind(*args, **keywords)
        bound.apply_defaults()
        for argument, value in bound.arguments.items():
            if declaration := declared("optimizer", name, argument):
                may_be_scheduled = {argument, f"{name}.{argument}"} & SCHEDULED
                if may_be_scheduled and callable(value):
                    check_not_class(argument, "a number or a schedule", value)
                elif not tf.is_tensor(value):
                    check_declared(argument, value, declaration)
        return factory(*bound.args, **bound.kwargs)

    return checking  # type: ignore[return-value]


def from_update_rule(
    rule: UpdateRule,
    state_type: Callable[..., State],
    *,
    slots: Mapping[str, Slot],
    learning_rate: ScalarOrSchedule,
    hyperparameters: Mapping[str, Any] | None = None,
    weight_decay: WeightDecay | None = None,
    masks: Mapping[str, Mask] | None = None,
    prepare: Callable[[State, Hyperparameters], Mapping[str, Tensor]] | None = None,
) -> Optimizer:
    """Return the optimizer that applies an update rule to every parameter and counts its steps.

    Args:
        rule: the equation on one tensor; see the module's docstring.
        state_type: a NamedTuple with the fields `step` and those of `slots`.
        slots: the fields of the state besides `step` and their initial values, in the order in
            which the rule takes them; scalars are not passed as slots.
        learning_rate: at least 0; a number, a scalar tensor or a schedule. `hp.eta` in the rule.
        hyperparameters: those that the rule reads, by name. Functions are schedules and are
            evaluated at the step; numbers and scalar tensors reach the rule in the compute dtype;
            anything else, such as a bool or a string, reaches it as it is.
        weight_decay: None for an optimizer without it.
        masks: bools by name; the rule reads each as the bool of its parameter.
        prepare: `(state, hp) -> scalars`, computed once per update in float64; `hp` as in the
            rule, without `w`. The rule reads the scalars from `hp`. Those named as a field of the
            state are the field's next value.
    """
    given = {"eta": learning_rate, **(hyperparameters or {})}
    scalable = {name: x for name, x in given.items() if callable(x) or _is_number(x)}
    constants = {name: x for name, x in given.items() if name not in scalable}
    masks = dict(masks or {})
    if weight_decay is not None and weight_decay.form is None:
        scalable["weight_decay"] = weight_decay.value
        masks["decays"] = weight_decay.mask
        rule = _decaying_by_itself(rule, weight_decay.value)
    else:
        constants["weight_decay"] = None
    of_leaves = [name for name, x in slots.items() if x is None or callable(x)]
    in_use = {name for name in of_leaves if slots[name] is not None}

    def init(params: Tree) -> State:
        step = tf.zeros([], tf.int64)
        return state_type(step=step, **{k: _initial(x, params) for k, x in slots.items()})

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        t = state.step + 1
        scalars = {"t": t} | {name: rate_at(x, state.step) for name, x in scalable.items()}
        shared: Mapping[str, Tensor] = {}
        if prepare is not None:
            wide = {name: scalar(x, tf.zeros([], tf.float64)) for name, x in scalars.items()}
            shared = prepare(state, Hyperparameters(**wide, **constants))
        updates, *new = map_update_rule(
            rule,
            grads,
            *(getattr(state, name) if name in in_use else None for name in of_leaves),
            params=params,
            scalars={**scalars, **shared},
            constants=constants,
            masks={name: resolve_mask(mask, params) for name, mask in masks.items()},
        )
        fields = {name: x for name, x in zip(of_leaves, new, strict=True) if name in in_use}
        fields |= {name: x for name, x in shared.items() if name in slots}
        return updates, state._replace(step=t, **fields)

    optimizer = Optimizer(init, update)
    if weight_decay is None or weight_decay.form is None:
        return optimizer
    return with_weight_decay(
        optimizer, learning_rate, weight_decay.value, weight_decay.form, weight_decay.mask
    )


def map_update_rule(
    rule: UpdateRule,
    grads: Tree,
    *slots: Tree | None,
    params: Tree,
    scalars: Mapping[str, Any],
    constants: Mapping[str, Any] | None = None,
    masks: Mapping[str, Tree] | None = None,
) -> tuple[Any, ...]:
    """Apply an update rule to each gradient; return the updates and the new slots.

    Where the gradient is None the update is None and the slots stay.

    Args:
        rule: `(g, *slots, hp) -> (update, *slots)`.
        grads: the gradients.
        slots: structures like the gradients; None for a slot that is not in use.
        params: the parameters, `hp.w`.
        scalars: numbers and scalar tensors by name; tensors are cast to the compute dtype of each
            parameter.
        constants: anything else by name, which is passed as it is.
        masks: structures of bools by name; the rule reads the bool of its parameter.
    """
    masks = masks or {}
    used = [i for i, slot in enumerate(slots) if slot is not None]

    def on_leaf(g: Tensor, *leaves: Any, **values: Any) -> tuple[Any, ...]:
        arguments: list[Any] = [None] * len(slots)
        for i, x in zip(used, leaves, strict=False):
            arguments[i] = x
        taken = leaves[len(used) :]
        hp = Hyperparameters(**values, **(constants or {}), **dict(zip(masks, taken, strict=True)))
        u, *new = rule(g, *arguments, hp)
        return u, *(new[i] for i in used), *taken

    held = [slots[i] for i in used]
    updates, *new = leafwise(on_leaf, grads, *held, *masks.values(), params=params, **scalars)
    by_index = dict(zip(used, new, strict=False))
    return updates, *(by_index.get(i) for i in range(len(slots)))


def full(value: float) -> Callable[[Tree], Tree]:
    """Return the initial value of a slot that is a constant in the shape of each parameter."""
    return lambda params: full_like(params, value)


def copies(params: Tree) -> Tree:
    """Return the parameters in their compute dtypes, as the initial value of a slot."""
    return tf.nest.map_structure(lambda w: tf.identity(widen(w)), params)


def _is_number(x: Any) -> bool:
    """Return whether x is a number or a scalar tensor; a bool is neither."""
    if isinstance(x, (bool, np.bool_)):
        return False
    return isinstance(x, numbers.Number) or hasattr(x, "dtype")


def _initial(slot: Slot, params: Tree) -> Tree:
    """Return the initial value of a field of the state."""
    if slot is None:
        return ()
    return slot(params) if callable(slot) else scalar(slot, tf.zeros([], tf.float64))


def _decaying_by_itself(rule: UpdateRule, weight_decay: float) -> UpdateRule:
    """Return the rule with `hp.weight_decay` None if a parameter does not decay."""

    def decaying(g: Tensor, *slots_and_hp: Any) -> tuple[Any, ...]:
        hp = slots_and_hp[-1]
        if is_zero(weight_decay) or not hp.decays:
            hp.weight_decay = None
        return rule(g, *slots_and_hp)

    return decaying
