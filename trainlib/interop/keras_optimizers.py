"""The optimizers of Keras, and the trainlib optimizer with the options of one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

import trainlib.optimizers as optimizers
from trainlib.core.types import Optimizer, ScalarOrSchedule
from trainlib.interop.slot_table import Slot, scalar_slots, slots, to_array
from trainlib.transforms.chain import chain
from trainlib.transforms.constrain import constrain
from trainlib.transforms.keras_options import keras_options


class Counterpart(NamedTuple):
    """The counterpart of a Keras optimizer.

    Attributes:
        factory: the trainlib factory.
        options: the options that have the same names in both, separated by spaces.
        slots: the slots by field.
    """

    factory: Callable[..., Optimizer]
    options: str
    slots: dict[str, Slot]


ADAM = Counterpart(
    optimizers.adam,
    "beta_1 beta_2 epsilon amsgrad",
    slots(m="_momentums", v="_velocities", v_max="_velocity_hats"),
)
COUNTERPARTS = {
    "SGD": Counterpart(optimizers.sgd, "momentum nesterov", slots(v="momentums")),
    "RMSprop": Counterpart(
        optimizers.rmsprop,
        "rho momentum epsilon centered",
        slots(s="_velocities", a="_average_gradients", v="-_momentums"),
    ),
    "Adagrad": Counterpart(
        optimizers.adagrad, "initial_accumulator_value epsilon", slots(s="_accumulators")
    ),
    "Adadelta": Counterpart(
        optimizers.adadelta,
        "rho epsilon",
        slots(a="_accumulated_grads", d="_accumulated_delta_vars"),
    ),
    "Adam": ADAM,
    "AdamW": ADAM,
    "Adamax": Counterpart(optimizers.adamax, "beta_1 beta_2 epsilon", slots(m="_m", u="_u")),
    "Nadam": Counterpart(
        optimizers.nadam, "beta_1 beta_2 epsilon", ADAM.slots | scalar_slots(P="_u_product")
    ),
    "Ftrl": Counterpart(
        optimizers.ftrl,
        "learning_rate_power initial_accumulator_value l1_regularization_strength "
        "l2_regularization_strength l2_shrinkage_regularization_strength beta",
        slots(n="_accumulators", z="_linears"),
    ),
    "Adafactor": Counterpart(
        optimizers.adafactor,
        "beta_2_decay epsilon_1 epsilon_2 clip_threshold",
        slots(R="_r", C="_c", V="_v"),
    ),
    "Lion": Counterpart(optimizers.lion, "beta_1 beta_2", slots(m="_momentums")),
    "Lamb": Counterpart(optimizers.lamb, "beta_1 beta_2 epsilon", ADAM.slots),
    "Muon": Counterpart(
        optimizers.muon,
        "momentum nesterov ns_steps adam_beta_1 adam_beta_2 epsilon adam_lr_ratio",
        slots(M="momentums", m="momentums", v="adam_velocities"),
    ),
    "ScheduleFreeAdamW": Counterpart(
        optimizers.schedule_free_adamw,
        "beta_1 beta_2 epsilon warmup_steps",
        slots(z="_momentums", v="_velocities") | scalar_slots(weight_sum="updates"),
    ),
}
"""Every optimizer of Keras, by its class name."""


def counterpart_of(keras_optimizer: Any, named: Mapping[str, Any]) -> Counterpart:
    """Return the entry of a Keras optimizer in `COUNTERPARTS`.

    Raises:
        ValueError: it is not one of Keras's, or has a variable that cannot be converted.
    """
    kind = type(keras_optimizer)
    if kind.__name__ not in COUNTERPARTS or not kind.__module__.startswith("keras."):
        raise ValueError(
            f"{kind.__module__}.{kind.__name__} is not one of Keras's own optimizers: those that "
            f"can be converted are {', '.join(COUNTERPARTS)}"
        )
    for path, variable in named.items():
        if getattr(variable, "overwrite_with_gradient", False):
            raise ValueError(f"{path} is overwritten with its gradient: it cannot be converted")
    return COUNTERPARTS[kind.__name__]


def with_options(
    counterpart: Counterpart, keras_optimizer: Any, named: Mapping[str, Any]
) -> Optimizer:
    """Return the trainlib optimizer with the options of a Keras optimizer.

    Args:
        counterpart: result of `counterpart_of`.
        keras_optimizer: a built optimizer.
        named: its variables by path.

    Raises:
        ValueError: a combination of options that cannot be converted.
    """
    given = {name: getattr(keras_optimizer, name) for name in counterpart.options.split()}
    if given.get("momentum") == 0:
        given.pop("nesterov", None)
    given["weight_decay"] = keras_optimizer.weight_decay or 0.0
    if counterpart.factory is optimizers.muon:
        given |= _muon_options(keras_optimizer, named)
    decaying = {path for path, v in named.items() if keras_optimizer._use_weight_decay(v)}
    optimizer = counterpart.factory(
        _learning_rate(keras_optimizer),
        **given,
        decay_mask=decaying.__contains__,
        convention="keras",
    )
    every_k = keras_optimizer.gradient_accumulation_steps
    if every_k and keras_optimizer.use_ema:
        raise ValueError(
            "use_ema with gradient_accumulation_steps cannot be converted: Keras averages the "
            "parameters at every micro-batch, trainlib at every update"
        )
    clipping = {
        name: bound
        for name in ("clipnorm", "clipvalue", "global_clipnorm")
        if (bound := getattr(keras_optimizer, name)) and bound > 0
    }
    # The constraint comes last: Keras averages the parameters before it.
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
    """Return Muon's options that have other names in Keras, and the mask of its matrices."""
    if not hasattr(keras_optimizer, "rms_rate"):
        raise ValueError(
            "this version of Keras has another Muon, which cannot be converted: update Keras"
        )
    matrices = {path for path, v in named.items() if not keras_optimizer._should_use_adamw(v)}
    rms_rate = keras_optimizer.rms_rate
    return {
        "adam_weight_decay": keras_optimizer.adam_weight_decay or 0.0,
        "ns_coefficients": tuple(getattr(keras_optimizer, f"muon_{x}") for x in "abc"),
        "muon_mask": matrices.__contains__,
        "exclude_embeddings": False,
    } | ({"scale": "none"} if rms_rate is None else {"rms_rate": rms_rate})


def _constrained(optimizer: Optimizer, named: Mapping[str, Any]) -> Optimizer:
    """Return the optimizer followed by the constraints of the variables."""
    constraints: dict[int, tuple[Any, set[str]]] = {}
    for path, variable in named.items():
        constraint = getattr(variable, "constraint", None)
        if constraint is not None:
            constraints.setdefault(id(constraint), (constraint, set()))[1].add(path)
    members = [constrain(c, paths.__contains__) for c, paths in constraints.values()]
    return chain(optimizer, *members) if members else optimizer


def _learning_rate(keras_optimizer: Any) -> ScalarOrSchedule:
    """Return the learning rate as a number, or as a schedule of the updates."""
    from keras.optimizers.schedules import LearningRateSchedule

    rate = keras_optimizer._learning_rate
    every_k = keras_optimizer.gradient_accumulation_steps or 1
    if isinstance(rate, LearningRateSchedule):
        # Keras calls a schedule with the number of micro-batches before the one that updates.
        return lambda step: tf.convert_to_tensor(rate((step + 1) * every_k - 1))
    if callable(rate):
        return lambda step: tf.convert_to_tensor(rate())
    return float(to_array(rate))
