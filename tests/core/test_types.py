"""`Optimizer`, its extra arguments, and `apply_updates`."""

from __future__ import annotations

import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS

import trainlib as tl
from trainlib.core.types import check_optimizer, update_with


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_apply_updates_keeps_dtypes_and_skips_none(dtype, execution):
    apply_updates = EXECUTIONS[execution](tl.apply_updates)
    params = {"a": tf.constant([1.0], dtype), "b": [tf.constant([4.0], dtype)]}
    new = apply_updates(params, {"a": tf.constant([0.5]), "b": [None]})
    assert {w.dtype.name for w in tf.nest.flatten(new)} == {dtype}
    assert (new["a"].numpy().tolist(), new["b"][0].numpy().tolist()) == ([1.5], [4])


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize(
    ("dtype", "w", "u", "expected"),
    [
        # Numbers of this size are 2 apart. A little over 1 goes up to 2; once it is rounded to 1,
        # the sum stands half way and goes to the even number, down.
        ("bfloat16", 256, 1.0004, 258),
        ("float16", 2048, 1.0004, 2050),
        ("float64", 1, 2**-50, 1 + 2**-50),
    ],
)
def test_apply_updates_rounds_the_sum_once(dtype, w, u, expected, execution):
    u = tf.constant(u, "float64" if dtype == "float64" else "float32")
    assert float(EXECUTIONS[execution](tl.apply_updates)(tf.constant(w, dtype), u)) == expected


def test_apply_updates_reads_variables_and_leaves_them():
    variable = tf.Variable([1.0, 2.0])
    new = tl.apply_updates([variable], [tf.constant([1.0, 1.0])])
    assert new[0].numpy().tolist() == [2, 3]
    assert variable.numpy().tolist() == [1, 2]


def test_apply_updates_sums_repeated_rows():
    update = tf.IndexedSlices(tf.constant([[1.0], [2.0], [4.0]]), tf.constant([0, 1, 1]), [3, 1])
    assert tl.apply_updates(tf.ones([3, 1]), update).numpy().tolist() == [[2], [7], [1]]


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (3, 1)])
def test_updates_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="got an update of shape .* for a parameter of shape"):
        tl.apply_updates([tf.ones([3])], [tf.ones(shape)])


def counting(*names):
    """Return an optimizer that declares extra arguments, and the list of those that it gets."""
    seen = []

    def update(grads, state, params, **extra):
        seen.append(extra)
        return grads, state

    return tl.Optimizer(lambda params: (), update, names), seen


def test_an_optimizer_gets_the_extra_arguments_that_it_declares():
    optimizer, seen = counting("last", "value")
    w = tf.constant(1.0)
    update_with(optimizer, w, (), w, weight=2.0, last=True)
    assert seen == [{"last": True}]


def test_an_optimizer_without_extra_arguments_gets_none():
    w = tf.constant(1.0)
    tx = tl.sgd(0.5)
    updates, _ = update_with(tx, w, tx.init(w), w, weight=2.0, last=True, is_finite=True)
    assert float(updates) == -0.5


WRAPPERS = {
    "chain": lambda tx: tl.chain(tl.scale(1.0), tx),
    "masked": lambda tx: tl.masked(tx, None),
    "freeze": lambda tx: tl.freeze(tx, lambda path: False),
    "partition": lambda tx: tl.partition({"all": tx}, lambda path: "all"),
    "apply_if_finite": tl.apply_if_finite,
    "inject_hyperparams": lambda tx: tl.inject_hyperparams(lambda: tx)(),
    "nested": lambda tx: tl.chain(tl.freeze(tl.chain(tx), lambda path: False)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_pass_the_arguments_that_an_inner_optimizer_declares(wrap):
    optimizer, seen = counting("weight", "is_finite")
    outer = wrap(optimizer)
    assert outer.extra_args == ("weight",)
    params = {"w": tf.constant(1.0)}
    update_with(outer, params, outer.init(params), params, weight=2.0, last=True, is_finite=False)
    assert seen == [{"weight": 2.0}]


@pytest.mark.parametrize(("value", "hint"), [(tl.sgd, "call it$"), ("sgd", "got 'sgd'$")])
def test_what_is_not_an_optimizer_is_refused_by_name(value, hint):
    with pytest.raises(TypeError, match=f"^before must be an Optimizer such as .*{hint}"):
        check_optimizer("before", value)
