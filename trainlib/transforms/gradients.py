"""Transforms of single tensors: `scale`, `scale_by_schedule`, `centralize`, `add_noise`."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.tree import compute_dtype, leafwise, scalar
from trainlib.core.types import Optimizer, Schedule, State, Tensor, Tree
from trainlib.transforms.chain import no_state


class StepState(NamedTuple):
    """State of a transform that counts its calls.

    Attributes:
        step: calls made, int64 [].
    """

    step: Tensor


def _first_step(params: Tree) -> StepState:
    """Return the state before the first call."""
    return StepState(tf.zeros([], tf.int64))


def scale_leaf(g: Tensor, *, factor: Tensor) -> tuple[Tensor]:
    """Return factor g."""
    return (factor * g,)


def scale(factor: float) -> Optimizer:
    """Multiply the gradients, or updates, by a number.

    `scale(1 / f)` before the optimizer is Keras's `loss_scale_factor=f`, for a loss multiplied by
    f.

    Args:
        factor: a finite number, or a scalar tensor.

    Returns:
        An `Optimizer` without state.

    Raises:
        ValueError: the factor is not finite.
        TypeError: the factor is not a number.

    Example:
        >>> updates, _ = tl.scale(-0.5).update(tf.constant([2.0, 4.0]), (), None)
        >>> updates.numpy().tolist()
        [-1.0, -2.0]
    """
    check_number("factor", factor)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        return leafwise(scale_leaf, grads, factor=factor)[0], state

    return Optimizer(no_state, update)


def scale_by_schedule(schedule: Schedule) -> Optimizer:
    """Multiply the gradients, or updates, by the value of a schedule at the number of calls.

        g = schedule(k) g,  k = 0, 1, ...

    Args:
        schedule: a function from k, int64 [], to a scalar.

    Returns:
        An `Optimizer` whose state is a `StepState`.

    Raises:
        TypeError: the schedule is not a function.

    Example:
        >>> tx = tl.scale_by_schedule(lambda k: 0.5 ** tf.cast(k, tf.float32))
        >>> state = tx.init(None)
        >>> for _ in range(2):
        ...     updates, state = tx.update(tf.constant(8.0), state, None)
        ...     print(float(updates))
        8.0
        4.0
    """
    if not callable(schedule):
        raise TypeError(
            f"schedule must be a function of the step such as tl.cosine_decay(1.0, 1000), got "
            f"{schedule!r}"
        )

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, StepState]:
        (updates,) = leafwise(scale_leaf, grads, factor=schedule(state.step))
        return updates, StepState(state.step + 1)

    return Optimizer(_first_step, update)


def centralize_leaf(g: Tensor, *, unit_axis: int) -> tuple[Tensor]:
    """Return g minus the mean of g over the weights of each unit."""
    if g.shape.rank < 2:
        return (g,)
    axes = [axis for axis in range(g.shape.rank) if axis != unit_axis % g.shape.rank]
    return (g - tf.reduce_mean(g, axes, keepdims=True),)


def centralize(unit_axis: int = -1) -> Optimizer:
    """Gradient centralization: subtract from each unit's gradient its mean.

        g = g - mean(g)        over all axes but that of the units; vectors and scalars stay

    Args:
        unit_axis: the axis of a layer's units in its kernels, -1 or 0: the last one in Keras; 0
            where kernels are stored units first. Default: -1.

    Returns:
        An `Optimizer` without state.

    Raises:
        ValueError: `unit_axis` is neither 0 nor -1.

    Example:
        >>> updates, _ = tl.centralize().update(tf.constant([[1.0, 2.0], [3.0, 2.0]]), (), None)
        >>> updates.numpy().tolist()
        [[-1.0, 0.0], [1.0, 0.0]]

    Differences:
        Optax: the units are on axis 0.

    References:
        Yong, Huang, Hua and Zhang 2020, "Gradient Centralization: A New Optimization Technique for
        Deep Neural Networks".
    """
    if unit_axis not in (0, -1):
        raise ValueError(f"unit_axis must be 0 or -1, got {unit_axis!r}")

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        def on_leaf(g: Tensor) -> tuple[Tensor]:
            return centralize_leaf(g, unit_axis=unit_axis)

        return leafwise(on_leaf, grads)[0], state

    return Optimizer(no_state, update)


def add_noise(eta: float = 0.01, gamma: float = 0.55, *, seed: int) -> Optimizer:
    """Add normal noise to the gradients, with a variance that decays with the step.

        g = g + sigma_k z,  sigma_k^2 = eta / (1 + k)^gamma,  z ~ N(0, 1),  k = 0, 1, ...

    z is a function of the seed, the step and the position of the tensor among the parameters, the
    same eagerly and compiled: a resumed run draws the same noise as an uninterrupted one.

    Args:
        eta: variance at the first step, at least 0. Default: 0.01.
        gamma: exponent of the decay of the variance, at least 0. Default: 0.55.
        seed: an integer of 64 bits, or a scalar tensor of one.

    Returns:
        An `Optimizer` whose state is a `StepState`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is of another type.

    Example:
        >>> tx = tl.add_noise(eta=1.0, seed=0)
        >>> g = tf.zeros([1000])
        >>> noise, _ = tx.update(g, tx.init(g), None)
        >>> bool(0.9 < float(tf.math.reduce_std(noise)) < 1.1)
        True

    References:
        Neelakantan et al. 2015, "Adding Gradient Noise Improves Learning for Very Deep Networks".
    """
    check_number("eta", eta, at_least=0)
    check_number("gamma", gamma, at_least=0)
    if not tf.is_tensor(seed):
        check_integer("seed", seed, at_least=-(2**63), at_most=2**63 - 1)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, StepState]:
        k = tf.cast(state.step, tf.float64)
        variance = scalar(eta, k) / (1 + k) ** scalar(gamma, k)
        noise = [
            None if g is None else _normal(g, [seed, state.step], position)
            for position, g in enumerate(tf.nest.flatten(grads))
        ]
        updates, _ = leafwise(
            _noise_leaf, grads, tf.nest.pack_sequence_as(grads, noise), sigma=tf.sqrt(variance)
        )
        return updates, StepState(state.step + 1)

    return Optimizer(_first_step, update)


def _noise_leaf(g: Tensor, z: Tensor, *, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Return g + sigma z, and z."""
    return g + sigma * z, z


def _normal(g: Tensor, seed: list[Tensor], position: int) -> Tensor:
    """Return standard normal noise like g (Box and Muller 1958), the same bits under XLA.

    TensorFlow's normal and uniform numbers differ between eager code and XLA; Philox's integers do
    not.
    """
    key = tf.random.experimental.stateless_fold_in(tf.stack(seed), position, alg="philox")
    integers = tf.random.stateless_uniform(
        tf.concat([[2], tf.shape(g)], 0), key, None, None, tf.int32, alg="philox"
    )
    uniform = (tf.cast(integers, tf.float64) + (2.0**31 + 0.5)) / 2.0**32
    z = tf.sqrt(-2 * tf.math.log(uniform[0])) * tf.cos(2 * math.pi * uniform[1])
    return tf.cast(tf.reshape(z, tf.shape(g)), compute_dtype(g.dtype))
