"""`masked`, `partition` and `freeze`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from helpers.exact import B1, B2
from helpers.executions import WITHOUT_XLA

import trainlib as tl
from trainlib.transforms import with_weight_decay
from trainlib.verify.compare import difference
from trainlib.verify.trajectory import run_optimizer


class Layer(NamedTuple):
    kernel: tf.Tensor
    bias: tf.Tensor


def nested():
    return {
        "encoder": [Layer(tf.fill([2, 2], 2.0), tf.fill([2], 2.0)), tf.fill([3], 2.0)],
        "head": Layer(tf.fill([2, 1], 2.0), tf.constant(2.0)),
    }


def ones_like(params):
    return tf.nest.map_structure(tf.ones_like, params)


def in_encoder(path):
    return path.startswith("encoder/")


def test_masked_passes_other_gradients_through():
    params = nested()
    tx = tl.masked(tl.scale(3.0), in_encoder)
    updates, _ = tx.update(ones_like(params), tx.init(params), params)
    assert tf.reduce_all(updates["encoder"][0].kernel == 3)
    assert tf.reduce_all(updates["encoder"][1] == 3)
    assert tf.reduce_all(updates["head"].kernel == 1) and updates["head"].bias == 1
    tf.nest.assert_same_structure(updates, params)


def test_masked_has_state_for_its_part_only():
    params = nested()
    state = tl.masked(tl.adam(), in_encoder).init(params)
    assert sorted(state.m) == ["encoder/0/bias", "encoder/0/kernel", "encoder/1"]


def test_a_mask_of_bools_equals_the_mask_by_path():
    params = nested()
    mask = tf.nest.map_structure(lambda _: False, params)
    mask["head"] = Layer(True, True)
    by_bools = tl.masked(tl.scale(3.0), mask)
    by_path = tl.masked(tl.scale(3.0), lambda path: path.startswith("head/"))
    results = [tx.update(ones_like(params), (), params)[0] for tx in (by_bools, by_path)]
    tf.nest.map_structure(np.testing.assert_array_equal, *results)


def test_a_masked_part_without_gradients_is_unchanged():
    params = {"a": tf.ones([2]), "b": tf.ones([2])}
    tx = tl.masked(tl.adam(), lambda path: path == "a")
    state = tx.init(params)
    updates, after = tx.update({"a": None, "b": tf.ones([2])}, state, params)
    assert updates["a"] is None and after.step == 0
    with pytest.raises(ValueError, match="every gradient is None"):
        tx.update({"a": None, "b": None}, state, params)


def test_masks_of_another_structure_or_type_are_refused():
    params = {"a": tf.ones([2]), "b": tf.ones([2])}
    with pytest.raises(ValueError, match="mask must have the structure of params"):
        tl.masked(tl.adam(), {"a": True}).init(params)
    with pytest.raises(TypeError, match="a mask must hold bools, got 1"):
        tl.freeze(tl.adam(), {"a": 1, "b": True}).init(params)
    with pytest.raises(TypeError, match="optimizer of masked must be an Optimizer"):
        tl.masked(tl.adam, in_encoder)


def test_one_path_for_two_parameters_is_an_error():
    params = {"a/b": tf.ones([2]), "a": {"b": tf.ones([2])}}
    with pytest.raises(ValueError, match="two parameters have the path 'a/b'"):
        tl.masked(tl.adam(), lambda path: True).init(params)


@pytest.mark.parametrize("run", WITHOUT_XLA)
def test_partition_runs_each_optimizer_on_its_group(problem, run):
    labels = {"scalar": "a", "vector": "b", "wide": "a"}
    optimizers = {"a": tl.adam(0.01), "b": tl.sgd(0.1, momentum=0.9)}
    together = run_optimizer(lambda learning_rate: tl.partition(optimizers, labels), problem, run)
    for label, optimizer in optimizers.items():
        own = {name for name in labels if labels[name] == label}
        part = problem._replace(start={k: w for k, w in problem.start.items() if k in own})
        alone = run_optimizer(lambda learning_rate, own=optimizer: own, part, run)
        assert difference(together, alone).error < 1e-15


def test_partition_agrees_with_optax(problem, run_optax):
    labels = {"scalar": "a", "vector": "b", "wide": "c"}
    ours = run_optimizer(
        lambda learning_rate: tl.partition(
            {"a": tl.adam(0.01, B1, B2, convention="optax"), "b": tl.sgd(0.1), "c": None}, labels
        ),
        problem,
    )
    theirs = run_optax(
        lambda optax: optax.partition(
            {"a": optax.adam(0.01, B1, B2), "b": optax.sgd(0.1), "c": optax.set_to_zero()}, labels
        ),
        problem,
    )
    assert difference(ours, theirs).error < 1e-12


def test_masked_agrees_with_optax(problem, run_optax):
    mask = {"scalar": True, "vector": False, "wide": True}
    ours = run_optimizer(
        lambda learning_rate: tl.chain(tl.masked(tl.clip_by_global_norm(0.5), mask), tl.sgd(0.1)),
        problem,
    )
    theirs = run_optax(
        lambda optax: optax.chain(
            optax.masked(optax.clip_by_global_norm(0.5), mask), optax.sgd(0.1)
        ),
        problem,
    )
    assert difference(ours, theirs).error < 1e-12


def test_partition_refuses_unknown_and_unused_labels():
    params = {"a": tf.ones([2]), "b": tf.ones([2])}
    two = {"body": tl.adam(), "head": tl.sgd()}
    with pytest.raises(ValueError, match="unknown label of b 'haed': did you mean 'head'"):
        tl.partition(two, {"a": "body", "b": "haed"}).init(params)
    with pytest.raises(ValueError, match="no parameter has the label 'head'; those in use"):
        tl.partition(two, lambda path: "body").init(params)
    with pytest.raises(ValueError, match="labels must have the structure of params"):
        tl.partition(two, {"a": "body"}).init(params)
    with pytest.raises(TypeError, match="of partition must be an Optimizer"):
        tl.partition({"body": tl.adam}, lambda path: "body")
    with pytest.raises(ValueError, match="at least one"):
        tl.partition({}, lambda path: "body")
    tx = tl.partition(two, {"a": "body", "b": "head"})
    with pytest.raises(ValueError, match="every gradient is None"):
        tx.update({"a": None, "b": None}, tx.init(params), params)


def test_partition_leaves_a_group_without_gradients():
    params = {"a": tf.ones([2]), "b": tf.ones([2])}
    tx = tl.partition({"a": tl.adam(), "b": tl.adam()}, lambda path: path)
    updates, state = tx.update({"a": None, "b": tf.ones([2])}, tx.init(params), params)
    assert updates["a"] is None and state["a"].step == 0 and state["b"].step == 1


def test_frozen_parameters_do_not_count_in_the_norm():
    params = {"a": tf.ones([2]), "b": tf.ones([2])}
    grads = {"a": tf.constant([30.0, 40.0]), "b": tf.constant([0.3, 0.4])}
    tx = tl.freeze(
        tl.chain(tl.clip_by_global_norm(1.0), tl.sgd(1.0, momentum=0.5)),
        {
            "a": True,
            "b": False,
        },
    )
    state = tx.init(params)
    assert list(state[1].v) == ["b"]
    updates, _ = tx.update(grads, state, params)
    assert updates["a"] is None
    np.testing.assert_allclose(updates["b"], [-0.3, -0.4], rtol=1e-6)
    assert tl.apply_updates(params, updates)["a"] is not None


def test_freezing_everything_moves_nothing():
    params = {"a": tf.ones([2])}
    tx = tl.freeze(tl.adam(), lambda path: True)
    updates, _ = tx.update({"a": tf.ones([2])}, tx.init(params), params)
    assert updates == {"a": None}


def test_masks_in_a_part_use_the_complete_paths():
    params = nested()
    inner = tl.adamw(1.0, weight_decay=0.5, decay_mask=lambda path: path.endswith("/kernel"))
    tx = tl.partition({"e": inner, "h": None}, lambda path: "e" if in_encoder(path) else "h")
    zeros = tf.nest.map_structure(tf.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
    assert tf.reduce_all(updates["encoder"][0].kernel == -1)
    assert tf.reduce_all(updates["encoder"][0].bias == 0)


def decaying(mask):
    """Return optimizers of parts of the parameters whose weight decay has a mask."""
    adamw = tl.adamw(0.5, weight_decay=0.5, decay_mask=mask)
    muon = tl.muon(0.5, weight_decay=0.5, adam_weight_decay=0.5, decay_mask=mask)
    lars = with_weight_decay(tl.lars(0.5, ratio_mask=mask), 0.5, 0.5, "pre", mask)

    def label(path):
        return path.split("/")[0]

    return {
        "masked": tl.masked(tl.add_decayed_weights(0.5, mask), "head/.*"),
        "freeze": tl.freeze(adamw, "encoder/.*"),
        "partition": tl.partition({"encoder": adamw, "head": adamw}, label),
        "muon": tl.partition({"encoder": muon, "head": muon}, label),
        "lars": tl.partition({"encoder": lars, "head": lars}, label),
        "nested": tl.freeze(tl.partition({"0": adamw, "1": adamw}, lambda path: path[8]), "head.*"),
        "param_rules": tl.param_rules(
            "head/.*:learning_rate*=0.5",
            tl.adamw,
            learning_rate=0.5,
            weight_decay=0.5,
            decay_mask=mask,
        ),
    }


@pytest.mark.parametrize("autograph", [None, False, True])
@pytest.mark.parametrize("name", decaying(None))
def test_an_expression_may_match_nothing_in_a_part(name, autograph):
    params, found = nested(), []
    for mask in ("encoder/0/.*", lambda path: path.startswith("encoder/0/")):
        tx = decaying(mask)[name]
        update = tx.update if autograph is None else tf.function(tx.update, autograph=autograph)
        found.append(update(ones_like(params), tx.init(params), params)[0])
    for one, other in zip(*map(tf.nest.flatten, found), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", decaying(None))
def test_an_expression_that_matches_nothing_in_the_complete_parameters_is_refused(name):
    params = nested()
    state, tx = decaying("encoder/.*")[name].init(params), decaying("decoder/.*")[name]
    expected = "fully matches 'decoder/.*'; the paths are encoder/0/kernel, .*, head/bias$"
    with pytest.raises(ValueError, match=expected):
        tx.update(ones_like(params), state, params)
    # After an error a complete structure is checked by itself again.
    with pytest.raises(ValueError, match="the paths are other$"):
        tl.masked(tl.sgd(), "encoder/.*").init({"other": tf.ones([2])})


def test_lazy_takes_a_part_without_embeddings():
    params = {"embeddings": tf.ones([3, 2]), "kernel": tf.ones([2, 2])}
    tx = tl.partition(
        {"a": tl.lazy(tl.sgd(0.5)), "b": tl.lazy(tl.sgd(1.0))}, {"embeddings": "a", "kernel": "b"}
    )
    updates, _ = tx.update(params, tx.init(params), params)
    assert tf.reduce_all(updates["embeddings"] == -0.5) and tf.reduce_all(updates["kernel"] == -1)


def test_a_single_tensor_is_a_structure():
    w = tf.constant([1.0, 2.0])
    tx = tl.partition({"all": tl.sgd(1.0)}, lambda path: "all")
    updates, _ = tx.update(tf.ones([2]), tx.init(w), w)
    np.testing.assert_array_equal(updates, [-1, -1])


def test_states_of_parts_go_through_a_while_loop():
    params = {"a": tf.ones([2]), "b": tf.ones([2]), "c": tf.ones([2])}
    tx = tl.partition(
        {"a": tl.adam(0.1), "b": tl.sgd(0.1, momentum=0.9), "c": None}, lambda path: path
    )

    def body(i, params, state):
        updates, state = tx.update(params, state, params)
        return i + 1, tl.apply_updates(params, updates), state

    def loop(params):
        return tf.while_loop(lambda i, *_: i < 5, body, (0, params, tx.init(params)))[1]

    stepwise = params, tx.init(params)
    for _ in range(5):
        stepwise = body(0, *stepwise)[1:]
    for run in (loop, tf.function(loop), tf.function(loop, jit_compile=True)):
        for name, w in run(params).items():
            np.testing.assert_allclose(w, stepwise[0][name], rtol=1e-6)
