"""The records of norms: their numbers, what does not count; and gradients by themselves."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.training.functional_model import functional_from_keras
from trainlib.training.programs import Programs

ROOT = Path(tl.__file__).parents[1]
RUNS = {
    "eager": lambda f: f,
    "graph": tf.function,
    "xla": functools.partial(tf.function, jit_compile=True),
}
X = np.random.default_rng(0).normal(size=(8, 3))
Y = np.random.default_rng(1).normal(size=(8, 2))
KERNEL = np.random.default_rng(2).normal(size=(3, 2))
BIAS = np.array([0.5, -0.25])


def linear(params, model_state, x, training):
    return tl.ModelOutput(x @ params["kernel"] + params["bias"], model_state)


def start(optimizer, **options):
    params = {"kernel": tf.constant(KERNEL), "bias": tf.constant(BIAS)}
    return tl.init_state(params, (), optimizer, **options)


def step_of(optimizer, norms=True, **options):
    return tl.train_step(
        tl.StepConfig(linear, tl.losses.mean_squared_error, optimizer, norms=norms, **options)
    )


def batch_of(x=X):
    return tf.constant(x), tf.constant(Y)


def gradients(kernel, bias):
    error = (X @ kernel + bias - Y) / 8
    return X.T @ error, error.sum(axis=0)


def norm(*arrays):
    return np.sqrt(sum(np.sum(a**2) for a in arrays))


@pytest.mark.parametrize("run", RUNS)
def test_norms_are_those_before_clipping_and_of_the_updates(run):
    optimizer = tl.chain(tl.clip_by_global_norm(0.25), tl.sgd(0.5))
    step, state = RUNS[run](step_of(optimizer)), start(optimizer)
    params = [KERNEL, BIAS]
    for _ in range(3):
        state, records = step(state, batch_of())
        grads = gradients(*params)
        assert norm(*grads) > 0.25
        assert records["gradient_norm"].compute().numpy() == pytest.approx(norm(*grads), rel=1e-13)
        assert records["update_norm"].compute().numpy() == pytest.approx(0.125, rel=1e-13)
        assert records["gradient_norm"].count.numpy() == records["update_norm"].count.numpy() == 1
        params = [p - 0.125 * g / norm(*grads) for p, g in zip(params, grads, strict=True)]


@pytest.mark.parametrize("scale", [None, tl.static_loss_scale(2.0**10)])
def test_a_loss_scale_does_not_change_the_norms(scale):
    optimizer = tl.sgd(0.5)
    state = start(optimizer, loss_scale=scale)
    _, records = step_of(optimizer, loss_scale=scale)(state, batch_of())
    expected = norm(*gradients(KERNEL, BIAS))
    assert records["gradient_norm"].compute().numpy() == pytest.approx(expected, rel=1e-13)
    assert records["update_norm"].compute().numpy() == pytest.approx(expected / 2, rel=1e-13)


@pytest.mark.parametrize("accumulated", [False, True])
def test_a_skipped_step_does_not_count(accumulated):
    optimizer = tl.accumulate(tl.sgd(0.5), 2) if accumulated else tl.sgd(0.5)
    scale = tl.dynamic_loss_scale(8.0)
    state, step = start(optimizer, loss_scale=scale), step_of(optimizer, loss_scale=scale)
    _, bad = step(state, batch_of(X * np.inf))
    _, good = step(state, batch_of())
    for name in ("gradient_norm", "update_norm"):
        assert (bad[name].total.numpy(), bad[name].count.numpy()) == (0, 0)
        assert good[name].count.numpy() == 1 and np.isfinite(good[name].total)
    assert good["gradient_norm"].total.numpy() > 1


def test_without_a_loss_scale_a_gradient_that_is_not_finite_is_told():
    optimizer = tl.sgd(0.5)
    _, records = step_of(optimizer)(start(optimizer), batch_of(X * np.inf))
    assert not np.isfinite(records["gradient_norm"].compute())


def test_norms_whose_squares_overflow_are_right():
    optimizer = tl.sgd(2.0**-20)
    params = {"kernel": tf.zeros([1, 1]), "bias": tf.zeros([1])}
    state = tl.init_state(params, (), optimizer)
    step = tl.train_step(
        tl.StepConfig(linear, lambda y, y_pred: y_pred[:, 0], optimizer, norms=True)
    )
    _, records = step(state, (tf.fill([2, 1], 2.0**80), tf.zeros([2])))
    assert records["gradient_norm"].compute().numpy() == 2.0**80
    assert records["update_norm"].compute().numpy() == 2.0**60


def operations(**options):
    """The names of the operations of a step."""
    optimizer = tl.sgd(0.5)
    step = tl.train_step(tl.StepConfig(linear, tl.losses.mean_squared_error, optimizer, **options))
    graph = tf.function(step).get_concrete_function(start(optimizer), batch_of()).graph
    return [operation.name for operation in graph.get_operations()]


def test_without_norms_there_is_no_operation_for_them():
    off, on = operations(), operations(norms=True)
    assert off == operations(norms=False)
    assert not any("norm" in name for name in off)
    own = [name for name in on if name.startswith("norms/")]
    assert own
    results = [name for name in on if name.startswith("Identity")]
    assert len(on) - len(own) - len(off) <= len(results)  # two records are returned
    _, records = step_of(tl.sgd(), norms=False)(start(tl.sgd()), batch_of())
    assert list(records) == ["loss"]


def test_a_metric_of_the_same_name_is_refused():
    metrics = {"update_norm": tl.losses.mean_squared_error}
    with pytest.raises(ValueError, match="metrics must not use the name 'update_norm'"):
        step_of(tl.sgd(), metrics=metrics)
    step_of(tl.sgd(), metrics=metrics, norms=False)


@pytest.mark.parametrize("run", RUNS)
def test_the_gradient_step_gives_what_the_optimizer_is_given(run):
    scale = tl.static_loss_scale(2.0**10)
    config = tl.StepConfig(linear, tl.losses.mean_squared_error, tl.sgd(), loss_scale=scale)

    def step(state, batch):
        grads = tl.compute_gradients(config, state, batch).grads
        return tl.unscale_grads(grads, state.loss_scale)

    grads = RUNS[run](step)(start(tl.sgd(), loss_scale=scale), batch_of())
    for name, expected in zip(("kernel", "bias"), gradients(KERNEL, BIAS), strict=True):
        np.testing.assert_allclose(grads[name], expected, rtol=1e-13)


def net():
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")
    layers = [hidden, keras.layers.Dense(2, name="outputs")]
    return keras.Sequential([keras.Input((3,)), *layers])


def trainer_of(**options):
    options = {"execution": "graph", "norms": True} | options
    return tl.Trainer(net(), "mean_squared_error", tl.sgd(0.125), **options)


class Gradients(tl.callbacks.Callback):
    """Keeps the gradients and the parameters of each call."""

    def __init__(self, every=None):
        self.every, self.found, self.before = every, [], []

    def on_train_begin(self, status):
        self.before.append(status.gradients())

    def on_train_batch_end(self, status):
        self.found.append((status.state().params, status.gradients()))


@pytest.mark.parametrize("execution", ["graph", "xla", "xla_update"])
def test_the_history_tells_the_means_over_an_epoch(execution):
    data = X.astype("float32"), Y.astype("float32")
    history = trainer_of(execution=execution).fit(
        data, batch_size=3, shuffle=False, validation_data=data
    )
    apply_fn, params, model_state = functional_from_keras(net())
    state = tl.init_state(params, model_state, tl.sgd(0.125))
    step = tl.train_step(
        tl.StepConfig(apply_fn, tl.losses.mean_squared_error, tl.sgd(0.125), norms=True)
    )
    found = []
    for rows in ([0, 1, 2], [3, 4, 5], [6, 7]):
        state, records = step(state, tuple(a[rows] for a in data))
        found.append(records["gradient_norm"].compute().numpy())
    assert history[0]["gradient_norm"] == pytest.approx(np.mean(found), rel=1e-5)
    assert history[0]["update_norm"] == pytest.approx(np.mean(found) / 8, rel=1e-5)
    assert not {"val_gradient_norm", "val_update_norm"} & set(history[0])


def test_norms_change_no_bit_of_the_run():
    data = X.astype("float32"), Y.astype("float32")
    ends = []
    for norms in (False, True):
        trainer = trainer_of(norms=norms)
        history = trainer.fit(data, batch_size=3, epochs=2)
        ends.append([x.numpy().tobytes() for x in tf.nest.flatten(trainer.state)])
        assert ("gradient_norm" in history[0]) == norms
    assert ends[0] == ends[1]


def test_a_run_goes_on_with_its_norms(tmp_path):
    data = X.astype("float32"), Y.astype("float32")

    class StopAt(tl.callbacks.Callback):
        every = 5

        def on_train_batch_end(self, status):
            if status.global_batch == 5:
                return [tl.callbacks.Save(), tl.callbacks.Stop(resumable=True)]
            return None

    whole = trainer_of().fit(data, batch_size=2, epochs=2)
    trainer_of().fit(data, batch_size=2, epochs=2, checkpoints=tmp_path, callbacks=[StopAt()])
    rest = trainer_of().fit(
        data, batch_size=2, epochs=2, checkpoints=tl.Checkpoints(tmp_path, resume=True)
    )
    for one, other in zip(whole, rest, strict=True):
        assert one["gradient_norm"] == other["gradient_norm"] > 0
        assert one["update_norm"] == other["update_norm"] > 0


def test_facts_have_the_gradients_of_the_last_batch():
    data = X.astype("float32"), Y.astype("float32")
    callback = Gradients(every=1)
    trainer = trainer_of()
    trainer.fit(data, batch_size=3, shuffle=False, callbacks=[callback])
    assert callback.before == [None]
    model = net()
    for (params, grads), rows in zip(callback.found, ([0, 1, 2], [3, 4, 5], [6, 7]), strict=True):
        for variable, value in zip(model.trainable_variables, params.values(), strict=True):
            variable.assign(value)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(data[0][rows]) - data[1][rows]) ** 2)
        expected = tape.gradient(loss, [v.value for v in model.trainable_variables])
        for g, e in zip(grads.values(), expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-7)


def test_gradients_that_nobody_asks_for_are_not_computed(monkeypatch):
    data, asked = (X.astype("float32"), Y.astype("float32")), []
    original = Programs._gradients
    monkeypatch.setattr(
        Programs, "_gradients", lambda self, rows: asked.append(rows) or original(self, rows)
    )
    trainer_of().fit(data, batch_size=4, callbacks=[tl.callbacks.Callback()])
    assert asked == []
    trainer_of().fit(data, batch_size=4, epochs=2, callbacks=[Gradients(every=1)])
    assert asked == [4], "one function serves all batches of a size"


REPLICAS = """
import json, sys
import numpy as np, keras, tensorflow as tf
import trainlib as tl
tl.mirrored(2)
rng = np.random.default_rng(0)
data = rng.normal(size=(22, 3)), rng.normal(size=(22, 2)), rng.uniform(size=22)
kernels = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))

def net(params, model_state, x, training):
    return tl.ModelOutput(tf.tanh(x @ params["a"]) @ params["b"], model_state)

class Last(tl.callbacks.Callback):
    def on_epoch_end(self, status):
        self.found = {k: g.numpy().tolist() for k, g in status.gradients().items()}
        self.nodes = len(status.graph().get_operations())

told = []
for options in ({"strategy": "one_device"}, {"strategy": "mirrored", "replicas": 2}):
    params = {k: tf.constant(x) for k, x in zip("ab", kernels)}
    last = Last()
    trainer = tl.Trainer(
        tl.FunctionalModel(net, params), "mean_squared_error",
        tl.chain(tl.clip_by_global_norm(0.1), tl.adam(0.01)), norms=True, execution="graph",
        regularizer=tl.l2(0.01), **options,
    )
    history = trainer.fit(data, batch_size=5, epochs=2, callbacks=[last])
    told.append([history, last.found, last.nodes])
print(json.dumps(told))
"""


@pytest.mark.soak
def test_norms_and_gradients_on_replicas_are_those_on_one_device():
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    for a, b in zip(one[0], two[0], strict=True):
        for name in ("loss", "gradient_norm", "update_norm"):
            assert b[name] == pytest.approx(a[name], rel=1e-12)
    for name in "ab":
        np.testing.assert_allclose(two[1][name], one[1][name], rtol=1e-10)
    assert one[2] > 50 and two[2] > one[2]
