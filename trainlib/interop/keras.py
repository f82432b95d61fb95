"""Keras: its optimizers with their options, and the variables that hold their states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import trainlib.optimizers as rules
from trainlib.core.types import Optimizer, ScalarOrSchedule, State
from trainlib.interop.carry import (
    Slot,
    SlotTable,
    Table,
    check_names,
    export_state,
    import_state,
    rebuild,
    scalar_slots,
    slots,
    step_of,
    to_array,
)
from trainlib.training.functional_model import variables
from trainlib.transforms.accumulate import AccumulateState
from trainlib.transforms.average import EmaState
from trainlib.transforms.chain import chain
from trainlib.transforms.constrain import constrain
from trainlib.transforms.guard import ApplyIfFiniteState, apply_if_finite
from trainlib.transforms.mask import partition
from trainlib.transforms.options import keras_options
from trainlib.transforms.states import find_states

LIBRARY = "Keras"


class Rule(NamedTuple):
    """One of Keras's optimizers: our factory, the options of one name, and its slots by field."""

    factory: Callable[..., Optimizer]
    options: str
    slots: dict[str, Slot]


ADAM = Rule(
    rules.adam,
    "beta_1 beta_2 epsilon amsgrad",
    slots(m="_momentums", v="_velocities", v_max="_velocity_hats"),
)
RULES = {
    "SGD": Rule(rules.sgd, "momentum nesterov", slots(v="momentums")),
    "RMSprop": Rule(
        rules.rmsprop,
        "rho momentum epsilon centered",
        slots(s="_velocities", a="_average_gradients", v="-_momentums"),
    ),
    "Adagrad": Rule(rules.adagrad, "initial_accumulator_value epsilon", slots(s="_accumulators")),
    "Adadelta": Rule(
        rules.adadelta, "rho epsilon", slots(a="_accumulated_grads", d="_accumulated_delta_vars")
    ),
    "Adam": ADAM,
    "AdamW": ADAM,
    "Adamax": Rule(rules.adamax, "beta_1 beta_2 epsilon", slots(m="_m", u="_u")),
    "Nadam": Rule(rules.nadam, "beta_1 beta_2 epsilon", ADAM.slots | scalar_slots(P="_u_product")),
    "Ftrl": Rule(
        rules.ftrl,
        "learning_rate_power initial_accumulator_value l1_regularization_strength "
        "l2_regularization_strength l2_shrinkage_regularization_strength beta",
        slots(n="_accumulators", z="_linears"),
    ),
    "Adafactor": Rule(
        rules.adafactor,
        "beta_2_decay epsilon_1 epsilon_2 clip_threshold",
        slots(R="_r", C="_c", V="_v"),
    ),
    "Lion": Rule(rules.lion, "beta_1 beta_2", slots(m="_momentums")),
    "Lamb": Rule(rules.lamb, "beta_1 beta_2 epsilon", ADAM.slots),
    "Muon": Rule(
        rules.muon,
        "momentum nesterov ns_steps adam_beta_1 adam_beta_2 epsilon adam_lr_ratio",
        slots(M="momentums", m="momentums", v="adam_velocities"),
    ),
    "ScheduleFreeAdamW": Rule(
        rules.schedule_free_adamw,
        "beta_1 beta_2 epsilon warmup_steps",
        slots(z="_momentums", v="_velocities") | scalar_slots(weight_sum="updates"),
    ),
}
"""Every optimizer of Keras."""
AVERAGE = "_model_variables_moving_average"
SUMS = "_accumulated_gradients"
VIRTUAL = ("updates", "micro_step", "micro_weight")
"""Slots that Keras has no variable for: they follow from its count of iterations."""


def from_keras(
    keras_optimizer: Any, model: Any = None, *, micro_batch_weight: float = 1.0
) -> tuple[Optimizer, State]:
    """A Keras optimizer as one of ours, and its state.

        model.fit(x, y)
        tx, opt_state = tl.interop.from_keras(model.optimizer, model)
        trainer = tl.Trainer(model, loss, tx)
        trainer.state = trainer.state._replace(opt_state=opt_state)

    Ours has its hyperparameters, its learning rate or schedule, its weight decay and what is
    excluded from it, clipping, averages, accumulation, and the constraints of its variables. The
    state is that of a dict of parameters by path, as `Trainer` has them. A `MultiOptimizer`
    becomes a `partition`. Of a `LossScaleOptimizer` the inner optimizer is carried, within
    `apply_if_finite`; its scale stays behind. A `loss_scale_factor` cancels out and is left off.
    At its end `fit` puts the averages of `use_ema` in the place of the parameters.

    Args:
        keras_optimizer: one that is built, of any kind that Keras has.
        model: the Keras model, or a dict of variables by path. By default the variables' own
            paths are taken, which may begin with the model's name.
        micro_batch_weight: under gradient accumulation, what a micro-batch weighs in our
            `accumulate`: its number of examples in `train_step`. It matters where Keras left a
            window open.

    Raises:
        ValueError: an optimizer that is not built, or that has other variables than the model; a
            subclass of the user's own; an average together with accumulation, which Keras makes
            of micro-batches.

    Differs from: Keras in float64, where it rounds hyperparameters to float32.
    """
    named = _named(keras_optimizer, model)
    return _from(keras_optimizer, named, micro_batch_weight)


def to_keras(state: State, keras_optimizer: Any, model: Any = None) -> None:
    """Writes a state of ours into the variables of a Keras optimizer.

        tl.interop.to_keras(trainer.state.opt_state, model.optimizer, model)
        model.fit(x, y)

    Its hyperparameters, its learning rate among them, and a loss scale stay as they are.

    Args:
        state: of the optimizer that `from_keras` gave, or of one with the same rule and options.
        keras_optimizer: one that is built: `optimizer.build(model.trainable_variables)`.
        model: as in `from_keras`.

    Raises:
        ValueError: an optimizer that is not built, or other parameters, slots or shapes, with the
            difference.
    """
    _to(state, keras_optimizer, _named(keras_optimizer, model))


def _from(keras_optimizer: Any, named: dict[str, Any], weight: float) -> tuple[Optimizer, State]:
    kind = type(keras_optimizer).__name__
    if kind == "LossScaleOptimizer":
        inner, state = _from(keras_optimizer.inner_optimizer, named, weight)
        optimizer = apply_if_finite(inner)
        guard = optimizer.init(_values(named))
        updates = tf.constant(int(_updates(keras_optimizer.inner_optimizer)[0]), tf.int64)
        return optimizer, guard._replace(step=updates, inner=state)
    if kind == "MultiOptimizer":
        groups = _groups(keras_optimizer, named)
        carried = {label: _from(*group, weight) for label, group in groups.items()}
        labels = {path: label for label, (_, part) in groups.items() for path in part}
        optimizers = {label: optimizer for label, (optimizer, _) in carried.items()}
        return partition(optimizers, labels.__getitem__), {
            label: state for label, (_, state) in carried.items()
        }
    optimizer = _options(_rule(keras_optimizer, named), keras_optimizer, named)
    book = _read(keras_optimizer, named, weight)
    table, (updates, _) = _table(keras_optimizer, weight), _updates(keras_optimizer)
    return optimizer, import_state(optimizer.init(_values(named)), book, table, updates, LIBRARY)


def _to(state: State, keras_optimizer: Any, named: dict[str, Any]) -> None:
    kind = type(keras_optimizer).__name__
    if kind == "LossScaleOptimizer":
        inner = state.inner if isinstance(state, ApplyIfFiniteState) else state
        _to(inner, keras_optimizer.inner_optimizer, named)
        return
    if kind == "MultiOptimizer":
        groups = _groups(keras_optimizer, named)
        if not isinstance(state, Mapping):
            raise ValueError("a MultiOptimizer of Keras takes the state of a partition")
        check_names(state, groups, "groups", LIBRARY)
        for label, group in groups.items():
            _to(state[label], *group)
        keras_optimizer.iterations.assign(max(step_of(part) for part in state.values()))
        return
    like = _options(_rule(keras_optimizer, named), keras_optimizer, named).init(_values(named))
    if _kinds(state) != _kinds(like):
        raise ValueError(
            f"Keras's {kind} takes {', '.join(sorted(_kinds(like)))}, got "
            f"{', '.join(sorted(_kinds(state))) or 'the state of no rule'}"
        )
    windows = list(find_states(state, AccumulateState))
    micro_step = int(windows[0].micro_step) if windows else 0
    weight = float(windows[0].weight_sum) / micro_step if micro_step else 1.0
    table = _table(keras_optimizer, weight)
    new = export_state(state, _read(keras_optimizer, named, weight), table, LIBRARY)
    for slot, entries in new.items():
        if slot not in VIRTUAL:
            for path, variable in _slot_variables(keras_optimizer, slot, named).items():
                variable.assign(entries[path])
    every_k = keras_optimizer.gradient_accumulation_steps or 1
    keras_optimizer._iterations.assign(step_of(state) * every_k + micro_step)


def _options(rule: Rule, keras_optimizer: Any, named: Mapping[str, Any]) -> Optimizer:
    """Our optimizer with the options of Keras's."""
    given = {name: getattr(keras_optimizer, name) for name in rule.options.split()}
    if given.get("momentum") == 0:
        given.pop("nesterov", None)
    given["weight_decay"] = keras_optimizer.weight_decay or 0.0
    if rule.factory is rules.muon:
        given |= _muon_options(keras_optimizer, named)
    decaying = {path for path, v in named.items() if keras_optimizer._use_weight_decay(v)}
    optimizer = rule.factory(
        _rate(keras_optimizer), **given, decay_mask=decaying.__contains__, convention="keras"
    )
    every_k = keras_optimizer.gradient_accumulation_steps
    if every_k and keras_optimizer.use_ema:
        raise ValueError(
            "use_ema with gradient_accumulation_steps is not carried: Keras averages the "
            "parameters at every micro-batch, ours at every update"
        )
    clipping = {
        name: bound
        for name in ("clipnorm", "clipvalue", "global_clipnorm")
        if (bound := getattr(keras_optimizer, name)) and bound > 0
    }
    # The constraint comes last, so that the average is of what Keras averages.
    return _constrained(
        keras_options(
            optimizer,
            **clipping,
            use_ema=keras_optimizer.use_ema,
            ema_momentum=keras_optimizer.ema_momentum,
            ema_overwrite_frequency=keras_optimizer.ema_overwrite_frequency,
            gradient_accumulation_steps=every_k or None,
        ),
        named,
    )


def _muon_options(keras_optimizer: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    """Muon's options of other names here, and which parameters are its own."""
    if not hasattr(keras_optimizer, "rms_rate"):
        raise ValueError("this version of Keras has another Muon, which is not carried: update it")
    matrices = {path for path, v in named.items() if not keras_optimizer._should_use_adamw(v)}
    rms_rate = keras_optimizer.rms_rate
    return {
        "adam_weight_decay": keras_optimizer.adam_weight_decay or 0.0,
        "ns_coefficients": tuple(getattr(keras_optimizer, f"muon_{x}") for x in "abc"),
        "muon_mask": matrices.__contains__,
        "exclude_embeddings": False,
    } | ({"scale": "none"} if rms_rate is None else {"rms_rate": rms_rate})


def _constrained(optimizer: Optimizer, named: Mapping[str, Any]) -> Optimizer:
    """The optimizer with the variables' constraints."""
    constraints: dict[int, tuple[Any, set[str]]] = {}
    for path, variable in named.items():
        constraint = getattr(variable, "constraint", None)
        if constraint is not None:
            constraints.setdefault(id(constraint), (constraint, set()))[1].add(path)
    members = [constrain(c, paths.__contains__) for c, paths in constraints.values()]
    return chain(optimizer, *members) if members else optimizer


def _rate(keras_optimizer: Any) -> ScalarOrSchedule:
    """The learning rate as a number, or as a schedule of the updates."""
    from keras.optimizers.schedules import LearningRateSchedule

    rate = keras_optimizer._learning_rate
    every_k = keras_optimizer.gradient_accumulation_steps or 1
    if isinstance(rate, LearningRateSchedule):
        # Keras's schedules are given the number of micro-batches before the one that updates.
        return lambda step: tf.convert_to_tensor(rate((step + 1) * every_k - 1))
    if callable(rate):
        return lambda step: tf.convert_to_tensor(rate())
    return float(to_array(rate))


def _rule(keras_optimizer: Any, named: Mapping[str, Any]) -> Rule:
    """The row of a Keras optimizer.

    Raises:
        ValueError: it is not one of Keras's own, or cannot be carried.
    """
    kind = type(keras_optimizer)
    if kind.__name__ not in RULES or not kind.__module__.startswith("keras."):
        raise ValueError(
            f"{kind.__module__}.{kind.__name__} is not one of Keras's own optimizers: those that "
            f"can be carried are {', '.join(RULES)}"
        )
    for path, variable in named.items():
        if getattr(variable, "overwrite_with_gradient", False):
            raise ValueError(f"{path} is overwritten with its gradient, which is not carried")
    return RULES[kind.__name__]


def _table(keras_optimizer: Any, weight: float) -> Table:
    """The slots of each kind of state; `weight` is that of a micro-batch."""
    rule = RULES[type(keras_optimizer).__name__]
    around = {
        EmaState: slots(average=AVERAGE),
        AccumulateState: {"grad_sum": Slot(SUMS, weight)}
        | scalar_slots(micro_step="micro_step", weight_sum="micro_weight"),
    }
    return lambda kind: around.get(kind, rule.slots)


def _read(keras_optimizer: Any, named: Mapping[str, Any], weight: float) -> SlotTable:
    """The book of a Keras optimizer's variables."""
    updates, micro_step = _updates(keras_optimizer)
    virtual = dict(zip(VIRTUAL, (updates, micro_step, weight * micro_step), strict=True))
    names = {slot.name for slot in RULES[type(keras_optimizer).__name__].slots.values()}
    book: SlotTable = {}
    for name in sorted((names | {AVERAGE, SUMS}) - set(VIRTUAL)):
        found = _slot_variables(keras_optimizer, name, named)
        if found:
            book[name] = {path: to_array(variable) for path, variable in found.items()}
    if SUMS in book:
        names |= {"micro_step", "micro_weight"}
    return book | {name: {"": np.float64(x)} for name, x in virtual.items() if name in names}


def _slot_variables(keras_optimizer: Any, slot: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a slot by path, or one for all of them."""
    found = getattr(keras_optimizer, slot, [])
    if not isinstance(found, (list, tuple)):
        return {"": found}
    if not found:
        return {}
    index = keras_optimizer._get_variable_index
    by_path = {path: found[index(variable)] for path, variable in named.items()}
    return {path: variable for path, variable in by_path.items() if variable is not None}


def _updates(keras_optimizer: Any) -> tuple[int, int]:
    """The updates made, and the micro-batches after the last."""
    every_k = keras_optimizer.gradient_accumulation_steps or 1
    return divmod(int(to_array(keras_optimizer._iterations)), every_k)


def _groups(keras_optimizer: Any, named: dict[str, Any]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """The optimizers of a MultiOptimizer that have variables, each with its own."""
    groups: dict[str, tuple[Any, dict[str, Any]]] = {}
    for i, optimizer in enumerate(keras_optimizer.optimizers):
        part = {
            path: variable
            for path, variable in named.items()
            if keras_optimizer._var_to_optimizer_idx[keras_optimizer._var_key(variable)] == i
        }
        if part:
            label = f"{optimizer.name}_{i}" if optimizer.name in groups else optimizer.name
            groups[label] = (optimizer, part)
    return groups


def _named(keras_optimizer: Any, model: Any) -> dict[str, Any]:
    """The variables of a Keras optimizer by path, in its order."""
    if not keras_optimizer.built:
        raise ValueError(
            f"{keras_optimizer.name} has no variables yet: call "
            "optimizer.build(model.trainable_variables)"
        )
    own = keras_optimizer._trainable_variables
    paths = [getattr(v, "path", v.name) for v in own]
    if model is not None:
        given = model if isinstance(model, Mapping) else variables(model)[0]
        by_id = {id(v): path for path, v in given.items()}
        paths = [by_id.get(id(v), path) for v, path in zip(own, paths, strict=True)]
        check_names(given, paths, "parameters", "the optimizer")
    named = dict(zip(paths, own, strict=True))
    if len(named) < len(own):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(f"two variables have the path {twice!r}: name them by model={{...}}")
    return named


def _values(named: Mapping[str, Any]) -> dict[str, Any]:
    return {path: tf.constant(to_array(variable)) for path, variable in named.items()}


def _kinds(state: State) -> set[str]:
    """The kinds of the states of rules in a state."""
    kinds: set[str] = set()

    def visit(owner: Any, field: str, value: Any) -> Any:
        if type(owner).__module__.startswith("trainlib.optimizers"):
            kinds.add(type(owner).__name__)
        return value

    rebuild(state, visit)
    return kinds
