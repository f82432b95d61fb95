"""Schedule-free AdamW."""

from __future__ import annotations

import contextlib
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any
from unittest import mock

from trainlib.optimizers.schedule_free import schedule_free_eval_params
from trainlib.verify.case import OptimizerCase, Peer

OURS = {"beta_1": 0.875, "beta_2": 1 - 2.0**-10}
KERAS = OURS | {"epsilon": 1e-8}
OPTAX = {"b1": 0.875, "b2": 1 - 2.0**-10}
EXACT = {"interp": "exact"}


@contextlib.contextmanager
def _copied() -> Iterator[None]:
    """Patch Keras's update rule so that it copies its old momentum before overwriting it."""
    import keras

    optimizer = keras.optimizers.ScheduleFreeAdamW
    source = textwrap.dedent(inspect.getsource(optimizer.update_step))
    names = dict(vars(inspect.getmodule(optimizer)))
    exec(source.replace("momentum.value", "ops.copy(momentum.value)"), names)
    with mock.patch.object(optimizer, "update_step", names["update_step"]):
        yield


@contextlib.contextmanager
def _wide_warmup() -> Iterator[None]:
    """Run Optax's warm-up in float64, towards a schedule."""
    from optax.contrib import _schedule_free

    def warmup(init_value: float, peak_value: Any, warmup_steps: int) -> Any:
        import jax.numpy as jnp

        return lambda k: peak_value(k) * jnp.minimum(k / jnp.asarray(warmup_steps, float), 1.0)

    with mock.patch.object(_schedule_free._schedule, "warmup_constant_schedule", warmup):
        yield


def _eval_params(state: Any, params: Any) -> Any:
    from optax.contrib import schedule_free_eval_params

    return schedule_free_eval_params(state, params)


def _case(
    form: str,
    keras: dict[str, Any],
    optax: dict[str, Any],
    problem: dict[str, Any] | None = None,
) -> OptimizerCase:
    """Make a case with options of the same name in Keras."""
    peers = {
        "keras": Peer(
            "ScheduleFreeAdamW",
            KERAS | keras,
            note="on TensorFlow, where beta_1 has no effect",
        ),
        "optax": Peer("schedule_free_adamw", OPTAX | optax),
    }
    return OptimizerCase("schedule_free_adamw", form, OURS | keras, peers, problem=problem or {})


def _intended(form: str, options: dict[str, Any]) -> OptimizerCase:
    peer = Peer(
        "ScheduleFreeAdamW",
        KERAS | options,
        ours=EXACT,
        patch=_copied,
        note="its old momentum is copied before it is overwritten",
    )
    return OptimizerCase("schedule_free_adamw", form, OURS | options, {"keras": peer})


WARM = {"warmup_steps": 50}
DECAY = {"weight_decay": 0.0625}
CASES = [
    _case("", {}, {}),
    _case("small gradients", {}, {}, {"scale": 2.0**-20}),
    _case("large epsilon", {"epsilon": 2.0**-4}, {"eps": 2.0**-4}),
    _case("weight decay", DECAY, DECAY),
    _intended("exact", {}),
    _intended("exact, warm-up and weight decay", WARM | DECAY),
    OptimizerCase(
        "schedule_free_adamw",
        "warm-up",
        OURS | WARM | DECAY,
        {
            "keras": Peer(
                "ScheduleFreeAdamW",
                KERAS | WARM | DECAY,
                note="on TensorFlow, where beta_1 has no effect",
            ),
            "optax": Peer(
                "schedule_free_adamw",
                OPTAX | WARM | DECAY,
                patch=_wide_warmup,
                note="its warm-up runs in float32; lifted to float64",
            ),
        },
    ),
    OptimizerCase(
        "schedule_free_adamw",
        "evaluation parameters",
        OURS,
        {"optax": Peer("schedule_free_adamw", OPTAX, read=_eval_params)},
        read=lambda params, state: schedule_free_eval_params(state, params),
    ),
]
