"""Muon, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

rng = np.random.default_rng(0)
PARAMS = {
    "embedding": {"table": tf.constant(rng.normal(size=(6, 3)), tf.float32)},
    "dense": {
        "kernel": tf.constant(rng.normal(size=(3, 4)), tf.float32),
        "bias": tf.zeros([4]),
    },
}
GRADS = tf.nest.map_structure(lambda w: w / 2 + 1, PARAMS)


def muon_paths(tx, params=PARAMS):
    return sorted(tx.init(params).parts.get("muon", (0, {}))[1])


def test_the_state_has_its_documented_fields():
    state = tl.muon().init(PARAMS)
    assert state._fields == ("step", "parts") and state.step.dtype == tf.int64
    assert list(state.parts["muon"].M) == ["dense/kernel"]
    assert sorted(state.parts["adam"].v) == ["dense/bias", "embedding/table"]
    assert all(tf.is_tensor(x) for x in tf.nest.flatten(state))


def test_muon_updates_the_matrices_that_are_not_excluded():
    both = ["dense/kernel", "embedding/table"]
    assert muon_paths(tl.muon(exclude_embeddings=False)) == both
    assert muon_paths(tl.muon(convention="torch")) == both
    assert muon_paths(tl.muon(exclude_layers=["^den.e/"])) == []
    assert muon_paths(tl.muon(convention="optax", muon_mask=lambda p: "dense" in p)) == both[:1]
    mask = {"embedding": {"table": True}, "dense": {"kernel": False, "bias": True}}
    assert muon_paths(tl.muon(convention="optax", muon_mask=mask)) == both[1:]


def test_parameters_of_one_kind_make_one_part():
    for params in ({"w": tf.ones([2, 3])}, {"b": tf.ones([3])}):
        tx = tl.muon()
        updates, state = tx.update(params, tx.init(params), params)
        assert len(state.parts) == 1 and state.step == 1
        assert all(np.all(u < 0) for u in updates.values())


def test_the_step_is_nearly_orthogonal():
    tx = tl.muon(1.0, scale="none", weight_decay=0.0, ns_steps=10)
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    singular = tf.linalg.svd(updates["dense"]["kernel"], compute_uv=False)
    assert np.all((singular > 0.6) & (singular < 1.3))


def test_gradients_of_0_move_nothing_without_decay():
    zeros = tf.nest.map_structure(tf.zeros_like, GRADS)
    for convention in ("keras", "torch", "optax", "paper"):
        tx = tl.muon(weight_decay=0.0, adam_weight_decay=0.0, convention=convention)
        updates, _ = tx.update(zeros, tx.init(PARAMS), PARAMS)
        assert all(np.all(u == 0) for u in tf.nest.flatten(updates))


def test_a_decay_mask_may_be_a_structure_or_a_function():
    tree = {"embedding": {"table": False}, "dense": {"kernel": True, "bias": False}}
    results = []
    for mask in (tree, lambda path: path == "dense/kernel"):
        tx = tl.muon(decay_mask=mask, weight_decay=0.5, adam_weight_decay=0.5)
        results.append(tx.update(GRADS, tx.init(PARAMS), PARAMS)[0])
    tf.nest.map_structure(np.testing.assert_array_equal, *results)
    plain = tl.muon(weight_decay=0.0, adam_weight_decay=0.0)
    bare, _ = plain.update(GRADS, plain.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(results[0]["embedding"]["table"], bare["embedding"]["table"])
    decay = results[0]["dense"]["kernel"] - bare["dense"]["kernel"]
    np.testing.assert_allclose(decay, -0.0005 * PARAMS["dense"]["kernel"], rtol=1e-3, atol=1e-7)


def test_a_decay_mask_of_another_structure_is_refused():
    with pytest.raises(ValueError, match="mask must have the structure of params"):
        tl.muon(decay_mask={"dense": True}).init(PARAMS)


def test_gradients_of_none_leave_both_parts_unchanged():
    tx = tl.muon()
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    grads = {"embedding": {"table": None}, "dense": {"kernel": None, "bias": tf.ones([4])}}
    updates, after = tx.update(grads, state, PARAMS)
    assert updates["dense"]["kernel"] is None and updates["embedding"]["table"] is None
    np.testing.assert_array_equal(
        after.parts["muon"].M["dense/kernel"], state.parts["muon"].M["dense/kernel"]
    )
    np.testing.assert_array_equal(
        after.parts["adam"].m["embedding/table"], state.parts["adam"].m["embedding/table"]
    )


@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_the_iteration_in_bfloat16_is_close(xla):
    steps = []
    for dtype in (None, "bfloat16"):
        tx = tl.muon(1.0, weight_decay=0.0, ns_dtype=dtype)
        update = tf.function(tx.update, jit_compile=xla, autograph=False)
        steps.append(update(GRADS, tx.init(PARAMS), PARAMS)[0]["dense"]["kernel"])
    assert steps[1].dtype == tf.float32
    np.testing.assert_allclose(steps[0], steps[1], atol=2**-5)
    assert np.any(steps[0] != steps[1])


def test_bfloat16_follows_torch():
    """Within what the iteration makes of a rounding by 2^-9."""
    torch = pytest.importorskip("torch")
    w = torch.nn.Parameter(torch.tensor(PARAMS["dense"]["kernel"].numpy()))
    w.grad = torch.tensor(GRADS["dense"]["kernel"].numpy())
    before = w.detach().clone()
    torch.optim.Muon([w], lr=1.0, weight_decay=0.0).step()
    theirs = (w.detach() - before).numpy()
    tx = tl.muon(1.0, weight_decay=0.0, convention="torch")
    ours = tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]["dense"]["kernel"]
    np.testing.assert_allclose(ours, theirs, atol=2**-5)


def test_invalid_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match="ns_coefficients must be three numbers or a sequence of"):
        tl.muon(ns_coefficients=(3.0, -4.0))
    with pytest.raises(ValueError, match="ns_steps must be at least 1 and at most 100, got 0"):
        tl.muon(ns_steps=0)
    with pytest.raises(ValueError, match="unknown momentum_form 'emma': did you mean 'ema'"):
        tl.muon(momentum_form="emma")


def test_a_decay_mask_may_be_a_regular_expression():
    found = []
    for mask in (".*kernel", lambda path: path.endswith("kernel")):
        tx = tl.muon(decay_mask=mask, weight_decay=0.5, adam_weight_decay=0.5)
        found.append(tx.update(GRADS, tx.init(PARAMS), PARAMS)[0])
    tf.nest.map_structure(np.testing.assert_array_equal, *found)
