"""Adam, AMSGrad and AdamW, where the comparison with peers does not cover them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

W = tf.constant([1.0, -2.0], tf.float64)


def path(tx, gradients):
    """The updates of the gradients, and the last state."""
    state, updates = tx.init(W), []
    for g in gradients:
        u, state = tx.update(tf.constant([g, -g], tf.float64), state, W)
        updates.append(u.numpy())
    return updates, state


@pytest.mark.parametrize("bias_form", ["folded", "corrected"])
def test_the_first_step_is_the_learning_rate(bias_form):
    updates, _ = path(tl.adam(0.5, epsilon=1e-12, bias_form=bias_form), [4.0])
    np.testing.assert_allclose(updates[0], [-0.5, 0.5], rtol=1e-9)


def test_without_bias_correction_the_first_step_is_the_ratio_of_the_means():
    tx = tl.adam(0.5, beta_1=0.75, beta_2=0.9375, epsilon=1e-12, bias_form="none")
    updates, _ = path(tx, [4.0])
    np.testing.assert_allclose(updates[0], [-0.5, 0.5], rtol=1e-9)  # 0.25 / sqrt(0.0625) = 1


def test_the_state_holds_a_maximum_only_with_amsgrad():
    assert tl.adam().init(W).v_max == ()
    _, state = path(tl.adam(beta_2=0.5, amsgrad=True), [4.0, 0.0, 0.0])
    np.testing.assert_array_equal(state.v, [2.0, 2.0])
    np.testing.assert_array_equal(state.v_max, [8.0, 8.0])


def test_the_maximum_of_corrected_means_is_that_of_optax():
    tx = tl.adam(beta_2=0.5, amsgrad=True, max_of="corrected")
    _, state = path(tx, [4.0, 0.0])
    np.testing.assert_array_equal(state.v, [4.0, 4.0])
    np.testing.assert_array_equal(state.v_max, [16.0, 16.0])


def test_adamw_decays_in_proportion_to_the_learning_rate():
    updates, _ = path(tl.adamw(0.5, weight_decay=0.25), [0.0])
    np.testing.assert_array_equal(updates[0], -0.125 * W)


@pytest.mark.parametrize("make", [tl.adam, tl.adamw])
def test_a_denominator_that_may_be_zero_is_refused(make):
    with pytest.raises(ValueError, match="epsilon and eps_root are both 0"):
        make(epsilon=0.0, eps_root=0.0)
