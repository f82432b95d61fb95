"""Precision policies: the dtype of each tensor, and training in low precision."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

HALF = {"mixed_bfloat16": 2.0**-7, "mixed_float16": 2.0**-10}
"""The relative rounding error of the compute dtype of each policy."""


def seeing(seen):
    """Return a model with a statistic and a count that records the dtypes it gets."""

    def apply_fn(params, model_state, x, training):
        h = tf.nn.relu(x["a"] @ params["kernel"]) + tf.cast(x["b"], x["a"].dtype)[:, None]
        seen.update(
            kernel=params["kernel"].dtype, a=x["a"].dtype, b=x["b"].dtype, h=h.dtype,
            mean=model_state["mean"].dtype,
        )  # fmt: skip
        mean = tf.cast(model_state["mean"], h.dtype) * 0.5 + tf.reduce_mean(h) * 0.5
        new = {"mean": mean, "count": model_state["count"] + 1}
        return tl.ModelOutput({"y": h, "class": x["b"]}, new, tf.reduce_sum(params["kernel"] ** 2))

    return apply_fn


@pytest.mark.parametrize("name", tl.PRECISIONS)
def test_the_model_computes_in_one_dtype_and_everything_else_is_in_the_other(name):
    policy, seen = tl.PRECISIONS[name], {}
    keep, half = policy.param_dtype, policy.compute_dtype
    params = {"kernel": tf.constant([[0.1, 0.2]], keep)}
    state = {"mean": tf.zeros([], keep), "count": tf.constant(0)}
    x = {"a": tf.constant([[1.0], [3.0]]), "b": tf.constant([1, 2])}
    apply_fn = tl.in_precision(seeing(seen), policy)
    with tf.GradientTape() as tape:
        tape.watch(params)
        y_pred, new, penalty, *_ = apply_fn(params, state, x, training=True)
        loss = tf.reduce_sum(y_pred["y"]) + penalty
    assert seen == {"kernel": half, "a": half, "b": tf.int32, "h": half, "mean": keep}
    assert y_pred["y"].dtype == penalty.dtype == new["mean"].dtype == keep
    assert y_pred["class"].dtype == new["count"].dtype == tf.int32
    grad = tape.gradient(loss, params)["kernel"]
    assert grad.dtype == keep
    rounding = HALF.get(name, 1e-6)
    np.testing.assert_allclose(grad, [[4.2, 4.4]], rtol=2 * rounding)
    np.testing.assert_allclose(y_pred["y"], [[1.1, 1.2], [2.3, 2.6]], rtol=2 * rounding)
    assert new["mean"].numpy() == pytest.approx(0.9, rel=2 * rounding)


@pytest.mark.parametrize("name", HALF)
def test_updates_below_the_compute_dtypes_precision_add_up(name):
    """A float32 parameter of 1 moves by 2^-14 a step, which a 16-bit one would round away."""
    policy, optimizer = tl.PRECISIONS[name], tl.sgd(2.0**-14)

    def apply_fn(params, model_state, x, training):
        return tl.ModelOutput(params * x)

    step = tf.function(
        tl.train_step(
            tl.StepConfig(
                tl.in_precision(apply_fn, policy), lambda y_true, y_pred: y_pred, optimizer
            )
        ),
        autograph=False,
    )
    state = tl.init_state(tf.constant(1.0), (), optimizer)
    for _ in range(64):
        state, _ = step(state, (tf.constant([1.0]), tf.constant([0.0])))
    assert state.params.numpy() == 1 - 64 * 2.0**-14


@pytest.mark.parametrize("name", tl.PRECISIONS)
def test_python_numbers_and_integers_are_not_cast(name):
    def apply_fn(params, model_state, x, training):
        assert x[0] == 3
        assert x[1].dtype == tf.int64
        return tl.ModelOutput(params)

    x = (3, tf.constant(2, tf.int64))
    forward = tl.in_precision(apply_fn, tl.PRECISIONS[name])(tf.ones([2]), (), x, training=True)
    assert forward.penalty == 0
    assert forward.model_state == ()


@pytest.mark.parametrize("name", HALF)
def test_parameters_that_the_function_does_not_assign_are_not_rounded(name):
    def apply_fn(params, model_state, x, training):
        return tl.ModelOutput(params["w"] * x, params={**params, "b": params["b"] + 1})

    params = {"w": tf.constant(1 + 2.0**-20), "b": tf.constant(2.0)}
    new = tl.in_precision(apply_fn, tl.PRECISIONS[name])(params, (), tf.ones([2]), True).params
    assert {path: float(w) for path, w in new.items()} == {"w": 1 + 2.0**-20, "b": 3.0}
    assert new["b"].dtype == tf.float32
