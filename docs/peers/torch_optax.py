"""PyTorch and Optax. Each function returns what was got and what is right."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
import torch

jax.config.update("jax_enable_x64", True)


def one_cycle_past_its_end():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=10)
    for _ in range(10):  # as often as there are steps
        optimizer.step()
        schedule.step()
    return f"rate {schedule.get_last_lr()[0]:.2g} after the 10 steps", "2e-06, its end, or an error"


def clipping_an_overflowing_norm():
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1e20, 1e20])
    torch.nn.utils.clip_grad_norm_([parameter], 1.0)
    return f"[1e20, 1e20] clipped to a norm of 1: {parameter.grad.tolist()}", "[0.7071, 0.7071]"


def rounded_nadam():
    def step(dtype):
        torch.set_default_dtype(dtype)
        w = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.NAdam([w], lr=0.01)
        for _ in range(100):
            w.grad = w.detach() * torch.tensor([1.0, 0.1, 10.0], dtype=torch.float64)
            optimizer.step()
        torch.set_default_dtype(torch.float32)
        return w.detach()

    error = (step(torch.float32) - step(torch.float64)).abs().max()
    return f"float64 weights differ by {error:.1g} by the default dtype", "0"


def ascending_adadelta():
    optimizer = optax.adadelta(None)
    w = jnp.array(1.0)
    update, _ = optimizer.update(jnp.array(1.0), optimizer.init(w), w)
    return f"update {float(update):.2g} for a gradient of 1", "below 0, or a refusal of None"


def rprop_one_step_late():
    optimizer = optax.rprop(0.1)
    w = jnp.array(1.0)
    update, _ = optimizer.update(jnp.array(1.0), optimizer.init(w), w)
    return f"first update {float(update):g}", "-0.1"


def adan_with_the_other_beta():
    optimizer = optax.adan(1.0, b1=0.98, b2=0.92, b3=0.99, eps=1e-30)
    w = jnp.array(0.0)
    state = optimizer.init(w)
    for gradient in (1.0, 2.0):
        update, state = optimizer.update(jnp.array(gradient), state, w)
    m = (0.02 * (0.98 + 2.0)) / (1 - 0.98**2)
    v = 0.08 / (1 - 0.92**2)
    corrected = (0.99 * 0.01 + 0.01 * (2.0 + 0.92) ** 2) / (1 - 0.99**2)
    right = -(m + 0.92 * v) / corrected**0.5
    return f"second update {float(update):.4g}", f"{right:.4g}, by the authors' code"


def plateau_without_patience():
    optimizer = optax.contrib.reduce_on_plateau(factor=0.5, patience=0)
    state = optimizer.init(jnp.array(0.0))
    for value in (3.0, 2.0, 1.0):
        _, state = optimizer.update(jnp.array(0.0), state, value=value)
    return f"the loss falls, the scale too: {float(state.scale):g}", "1"


def schedules_in_float32():
    schedule = optax.exponential_decay(1.0, 1000, 0.5)
    rate = jax.jit(schedule)(jnp.asarray(333, jnp.int32))
    error = abs(float(rate) - 0.5 ** (333 / 1000))
    return f"dtype {rate.dtype}, error {error:.1g} although x64 is enabled", "float64, 1e-16"


def prodigy_at_rest():
    optimizer = optax.contrib.prodigy()
    w = jnp.array([1.0])
    update, _ = optimizer.update(jnp.array([0.0]), optimizer.init(w), w)
    return f"update {update.tolist()} for a gradient of 0", "0"


CASES = {
    "PyTorch: OneCycleLR rises after its end": one_cycle_past_its_end,
    "PyTorch: clipping a norm that overflows": clipping_an_overflowing_norm,
    "PyTorch: NAdam rounds a product to float32": rounded_nadam,
    "Optax: adadelta(None) climbs": ascending_adadelta,
    "Optax: rprop is one step late": rprop_one_step_late,
    "Optax: adan with another beta than the paper's": adan_with_the_other_beta,
    "Optax: reduce_on_plateau with a patience of 0": plateau_without_patience,
    "Optax: schedules under jit in float32": schedules_in_float32,
    "Optax: prodigy at a gradient of 0": prodigy_at_rest,
}
