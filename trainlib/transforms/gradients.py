"""Transforms of gradients and updates, one tensor at a time: `scale`, `scale_by_schedule`,
`centralize`, `add_noise`."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.tree import compute_dtype, leafwise, scalar
from trainlib.core.types import Optimizer, Schedule, State, Tensor, Tree
from trainlib.transforms.chain import no_state


class StepState(NamedTuple):
    """step: calls made, int64 []."""

    step: Tensor


def _first_step(params: Tree) -> StepState:
    return StepState(tf.zeros([], tf.int64))


def scale_rule(g: Tensor, *, factor: Tensor) -> tuple[Tensor]:
    """g = factor g."""
    return (factor * g,)


def scale(factor: float) -> Optimizer:
    """Multiplies the gradients, or updates, by a number or a scalar tensor.

        g = factor g

    `scale(1 / f)` before the optimizer is Keras's loss_scale_factor=f, for a loss that was
    multiplied by f.

    Raises:
        ValueError, TypeError: a factor that is not a finite number.
    """
    check_number("factor", factor)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        return leafwise(scale_rule, grads, factor=factor)[0], state

    return Optimizer(no_state, update)


def scale_by_schedule(schedule: Schedule) -> Optimizer:
    """Multiplies the gradients, or updates, by a schedule's value at the number of calls so far.

        g = schedule(k) g,  k = 0, 1, ...

    Raises:
        TypeError: a schedule that is not a function.
    """
    if not callable(schedule):
        raise TypeError(f"schedule must be a function of the step, got {schedule!r}")

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, StepState]:
        (updates,) = leafwise(scale_rule, grads, factor=schedule(state.step))
        return updates, StepState(state.step + 1)

    return Optimizer(_first_step, update)


def centralize_rule(g: Tensor, *, unit_axis: int) -> tuple[Tensor]:
    """g = g - the mean of g over the weights of each unit."""
    if g.shape.rank < 2:
        return (g,)
    axes = [axis for axis in range(g.shape.rank) if axis != unit_axis % g.shape.rank]
    return (g - tf.reduce_mean(g, axes, keepdims=True),)


def centralize(unit_axis: int = -1) -> Optimizer:
    """Gradient centralization: the weights that lead to a unit move by 0 in the mean.

        g = g - mean(g)        over all axes but that of the units; vectors and scalars stay

    Args:
        unit_axis: the axis of a layer's units in its kernels: the last in Keras; 0 where kernels
            are stored units first.

    Differs from: Optax, whose `centralize` takes the units on axis 0.

    Reference: Yong, Huang, Hua and Zhang 2020, "Gradient Centralization: A New Optimization
    Technique for Deep Neural Networks".
    """
    if unit_axis not in (0, -1):
        raise ValueError(f"unit_axis must be 0 or -1, got {unit_axis!r}")

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        def rule(g: Tensor) -> tuple[Tensor]:
            return centralize_rule(g, unit_axis=unit_axis)

        return leafwise(rule, grads)[0], state

    return Optimizer(no_state, update)


def add_noise(eta: float = 0.01, gamma: float = 0.55, *, seed: int) -> Optimizer:
    """Adds normal noise, less of it with every step.

        g = g + sigma_k z,  sigma_k^2 = eta / (1 + k)^gamma,  z ~ N(0, 1),  k = 0, 1, ...

    z follows from the seed, the step and the place of the tensor among the parameters, eagerly
    and compiled: a run that is resumed draws what it would have drawn.

    Args:
        eta: variance of the first step, at least 0.
        gamma: how fast the variance falls, at least 0.
        seed: a whole number.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Reference: Neelakantan et al. 2015, "Adding Gradient Noise Improves Learning for Very Deep
    Networks".
    """
    check_number("eta", eta, at_least=0)
    check_number("gamma", gamma, at_least=0)
    check_number("seed", seed)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, StepState]:
        k = tf.cast(state.step, tf.float64)
        variance = scalar(eta, k) / (1 + k) ** scalar(gamma, k)
        flat = tf.nest.flatten(grads)
        noise = [
            None if g is None else _normal(g, [seed, state.step], place)
            for place, g in enumerate(flat)
        ]
        updates, _ = leafwise(
            _noise_rule, grads, tf.nest.pack_sequence_as(grads, noise), sigma=tf.sqrt(variance)
        )
        return updates, StepState(state.step + 1)

    return Optimizer(_first_step, update)


def _noise_rule(g: Tensor, z: Tensor, *, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """g = g + sigma z."""
    return g + sigma * z, z


def _normal(g: Tensor, seed: list[Tensor], place: int) -> Tensor:
    """Standard normal noise like g (Box and Muller 1958), the same bits eagerly and under XLA.

    TensorFlow's normal and uniform numbers differ between the two; Philox's integers do not.
    """
    key = tf.random.experimental.stateless_fold_in(tf.stack(seed), place, alg="philox")
    integers = tf.random.stateless_uniform(
        tf.concat([[2], tf.shape(g)], 0), key, None, None, tf.int32, alg="philox"
    )
    uniform = (tf.cast(integers, tf.float64) + (2.0**31 + 0.5)) / 2.0**32
    z = tf.sqrt(-2 * tf.math.log(uniform[0])) * tf.cos(2 * math.pi * uniform[1])
    return tf.cast(tf.reshape(z, tf.shape(g)), compute_dtype(g.dtype))
