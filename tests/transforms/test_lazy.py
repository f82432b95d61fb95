"""`lazy`: rows without a gradient keep their bits; the others follow libraries with lazy forms."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS
from helpers.trees import assert_same_bits

import trainlib as tl

ROWS, WIDTH, STEPS = 9, 3, 12
LEARNING_RATE = 2.0**-4
RNG = np.random.default_rng(0)
START = RNG.normal(size=(ROWS, WIDTH))
INDICES = RNG.integers(0, ROWS - 1, (STEPS, 4))  # some occur twice, the last row never
VALUES = RNG.normal(size=(STEPS, 4, WIDTH))

OPTIMIZERS = {
    "sgd": functools.partial(tl.sgd, LEARNING_RATE),
    "momentum": functools.partial(tl.sgd, LEARNING_RATE, momentum=0.75),
    "nesterov": functools.partial(tl.sgd, LEARNING_RATE, momentum=0.75, nesterov=True),
    "adagrad": functools.partial(tl.adagrad, LEARNING_RATE),
    "rmsprop": functools.partial(tl.rmsprop, LEARNING_RATE, momentum=0.5, centered=True),
    "adam": functools.partial(tl.adam, LEARNING_RATE),
    "amsgrad": functools.partial(tl.adam, LEARNING_RATE, amsgrad=True),
    "adamw": functools.partial(tl.adamw, LEARNING_RATE, weight_decay=0.5),
    "adamax": functools.partial(tl.adamax, LEARNING_RATE),
    "nadam": functools.partial(tl.nadam, LEARNING_RATE),
    "clipped": lambda: tl.chain(tl.clip_by_global_norm(0.5), tl.adam(LEARNING_RATE)),
    "in the state": lambda: tl.inject_hyperparams(tl.adam)(LEARNING_RATE),
}


def slices(step, start=START):
    return tf.IndexedSlices(
        tf.constant(VALUES[step], start.dtype), tf.constant(INDICES[step]), tf.constant(start.shape)
    )


def run(tx, grads, start=START):
    """Return the parameters and states of a run over gradients, from the first on."""
    params = {"embeddings": tf.constant(start), "other": tf.constant(start[:2])}
    state, found = tx.init(params), []
    for g in grads:
        updates, state = tx.update({"embeddings": g, "other": params["other"]}, state, params)
        params = tl.apply_updates(params, updates)
        found.append((params, state))
    return found


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_in_the_batch_have_the_optimizers_update_and_others_keep_their_bits(name):
    """Each row is by itself what the optimizer makes of it where it has a gradient in each step."""
    tx = tl.lazy(OPTIMIZERS[name]())
    params = {"embeddings": tf.constant(START), "other": tf.constant(START[:2])}
    plain = OPTIMIZERS[name]()
    state = tx.init(params)
    for step in range(STEPS):
        g = slices(step)
        grads = {"embeddings": g, "other": params["other"]}
        updates, new = tx.update(grads, state, params)
        assert isinstance(updates["embeddings"], tf.IndexedSlices)
        moved = tl.apply_updates(params, updates)
        dense = {"embeddings": tf.convert_to_tensor(g), "other": params["other"]}
        exact, exact_state = plain.update(dense, state, params)
        there = np.isin(np.arange(ROWS), INDICES[step])
        for ours, whole, old in (
            (moved["embeddings"], tl.apply_updates(params, exact)["embeddings"], START),
            *zip(*map(slots, (new, exact_state, state)), strict=True),
        ):
            old = params["embeddings"] if old is START else old
            np.testing.assert_allclose(ours[there], whole[there], rtol=1e-14, atol=1e-16)
            assert_same_bits(ours[~there], old[~there])
        np.testing.assert_allclose(
            moved["other"], tl.apply_updates(params, exact)["other"], rtol=1e-14
        )
        params, state = moved, new


def slots(state):
    """Return the leaves of a state that have a row for each row of the embedding."""
    return [x for x in tf.nest.flatten(state) if x.shape == START.shape]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_dense_gradients_with_rows_of_zeros_give_the_same(name):
    sparse = run(tl.lazy(OPTIMIZERS[name]()), [slices(i) for i in range(STEPS)])
    dense = run(
        tl.lazy(OPTIMIZERS[name]()), [tf.convert_to_tensor(slices(i)) for i in range(STEPS)]
    )
    for one, other in zip(tf.nest.flatten(sparse), tf.nest.flatten(dense), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_sparse_gradient_without_rows_changes_no_row(execution):
    tx = tl.lazy(OPTIMIZERS["clipped"]())
    step = EXECUTIONS[execution](lambda i, v, *s: _step(tx, i, v, *s))
    params = {"embeddings": tf.constant(START)}
    params, state = step(tf.constant(INDICES[0]), tf.constant(VALUES[0]), params, tx.init(params))
    after, new = step(tf.zeros([0], tf.int64), tf.zeros([0, WIDTH], tf.float64), params, state)
    for x, y in zip(slots((after, new)), slots((params, state)), strict=True):
        assert_same_bits(x, y)
    assert int(new[1].step) == 2


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_every_execution_gives_the_same(execution):
    tx = tl.lazy(tl.adam(LEARNING_RATE))
    params = {"embeddings": tf.constant(START)}
    state = tx.init(params)
    step = EXECUTIONS[execution](lambda i, v, *s: _step(tx, i, v, *s))
    expected = run(tl.lazy(tl.adam(LEARNING_RATE)), [slices(i) for i in range(STEPS)])[-1][0]
    for i in range(STEPS):
        params, state = step(tf.constant(INDICES[i]), tf.constant(VALUES[i]), params, state)
    np.testing.assert_allclose(params["embeddings"], expected["embeddings"], rtol=1e-13)


def _step(tx, indices, values, params, state):
    g = tf.IndexedSlices(values, indices, tf.constant(START.shape))
    updates, state = tx.update({"embeddings": g}, state, params)
    return tl.apply_updates(params, updates), state


@pytest.mark.parametrize(
    ("optimizer", "peer"),
    [
        (
            tl.sgd(LEARNING_RATE, momentum=0.75, velocity="lr_out"),
            lambda: tf.compat.v1.train.MomentumOptimizer(LEARNING_RATE, 0.75),
        ),
        (
            tl.adagrad(LEARNING_RATE, initial_accumulator_value=0.125, epsilon=0.0),
            lambda: tf.compat.v1.train.AdagradOptimizer(LEARNING_RATE, 0.125),
        ),
    ],
    ids=["momentum", "adagrad"],
)
def test_the_sparse_updates_of_tensorflow_are_followed(optimizer, peer):
    variable, theirs = tf.Variable(START), peer()
    for i, (params, _) in enumerate(run(tl.lazy(optimizer), map(slices, range(STEPS)))):
        theirs.apply_gradients([(slices(i), variable)])
        np.testing.assert_allclose(params["embeddings"], variable, rtol=1e-12, atol=1e-14)


def test_sparse_adam_of_pytorch_is_followed():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    w = torch.nn.Parameter(torch.tensor(START))
    theirs = torch.optim.SparseAdam([w], lr=LEARNING_RATE)
    ours = run(tl.lazy(tl.adam(LEARNING_RATE, epsilon=1e-8)), map(slices, range(STEPS)))
    for i, (params, _) in enumerate(ours):
        w.grad = torch.sparse_coo_tensor(
            torch.tensor(INDICES[i])[None],
            torch.tensor(VALUES[i]),
            START.shape,
            check_invariants=True,
        )
        theirs.step()
        np.testing.assert_allclose(params["embeddings"], w.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("optimizer", [tl.lamb(), tl.muon(), tl.lookahead(tl.sgd())])
def test_an_optimizer_whose_rows_depend_on_each_other_is_refused(optimizer):
    with pytest.raises(ValueError, match="^lazy takes sgd, adagrad, rmsprop, adam"):
        tl.lazy(optimizer)


def test_a_pattern_without_a_parameter_is_refused():
    with pytest.raises(ValueError, match="words"):
        tl.lazy(tl.sgd(), mask="words").init({"embeddings": tf.zeros([2, 1])})


@pytest.mark.parametrize(
    ("execution", "nonfinite", "precision"),
    [("graph", "skip", "mixed_float16"), ("xla", "epoch", None), ("xla_update", "stop", None)],
)
def test_a_trainer_moves_the_words_that_it_reads_only(execution, nonfinite, precision):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Embedding(ROWS, WIDTH), keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,), dtype="int32"), *layers])
    before = model.layers[0].get_weights()[0]
    options = {"execution": execution, "nonfinite": nonfinite, "precision": precision}
    trainer = tl.Trainer(model, "mean_squared_error", tl.lazy(tl.adam(0.1)), **options)
    x, y = np.array([[0, 0, 3, 5], [1, 3, 3, 0]]), np.ones((2, 1))
    trainer.fit((x, y), batch_size=1, epochs=3)
    after = model.layers[0].get_weights()[0]
    moved = (after != before).all(axis=1)
    assert moved.tolist() == [i in x for i in range(ROWS)]
    assert_same_bits(after[~moved], before[~moved])
