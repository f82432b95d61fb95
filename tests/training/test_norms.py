"""Norms in the history of a trainer, and gradients for its callbacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except
from helpers.linear import X, Y

import trainlib as tl
from trainlib.training import programs
from trainlib.training.functional_model import functional_from_keras

ROOT = Path(tl.__file__).parents[1]


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


@pytest.mark.parametrize("execution", soak_except("graph", names=["graph", "xla", "xla_update"]))
def test_the_history_has_the_mean_norms_of_an_epoch(execution):
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


def test_norms_change_no_bit_of_the_parameters():
    data = X.astype("float32"), Y.astype("float32")
    ends = []
    for norms in (False, True):
        trainer = trainer_of(norms=norms)
        history = trainer.fit(data, batch_size=4, epochs=2)
        ends.append([x.numpy().tobytes() for x in tf.nest.flatten(trainer.state)])
        assert ("gradient_norm" in history[0]) == norms
    assert ends[0] == ends[1]


def test_a_resumed_run_reports_the_same_norms(tmp_path):
    data = X.astype("float32"), Y.astype("float32")

    class StopAt(tl.callbacks.Callback):
        every = 5

        def on_train_batch_end(self, status):
            if status.global_batch == 5:
                return [tl.callbacks.Save(), tl.callbacks.Stop(resumable=True)]
            return None

    trainer = trainer_of()
    first = trainer.state
    whole = trainer.fit(data, batch_size=2, epochs=2)
    trainer.state = first
    trainer.fit(data, batch_size=2, epochs=2, checkpoints=tmp_path, callbacks=[StopAt()])
    trainer.state = first
    rest = trainer.fit(
        data, batch_size=2, epochs=2, checkpoints=tl.Checkpoints(tmp_path, resume=True)
    )
    for one, other in zip(whole, rest, strict=True):
        assert one["gradient_norm"] == other["gradient_norm"] > 0
        assert one["update_norm"] == other["update_norm"] > 0


def test_a_callback_gets_the_gradients_of_the_last_batch():
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


def test_gradients_are_computed_only_on_request(monkeypatch):
    data, asked = (X.astype("float32"), Y.astype("float32")), []
    original = programs.gradient_step
    monkeypatch.setattr(
        programs, "gradient_step", lambda *args: asked.append(args) or original(*args)
    )
    trainer_of().fit(data, batch_size=4, callbacks=[tl.callbacks.Callback()])
    assert asked == []
    trainer_of().fit(data, batch_size=4, epochs=2, callbacks=[Gradients(every=1)])
    assert len(asked) == 1, "one function serves all batches of a size"


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

reported = []
for options in ({"strategy": "one_device"}, {"strategy": "mirrored", "replicas": 2}):
    params = {k: tf.constant(x) for k, x in zip("ab", kernels)}
    last = Last()
    trainer = tl.Trainer(
        tl.FunctionalModel(net, params), "mean_squared_error",
        tl.chain(tl.clip_by_global_norm(0.1), tl.adam(0.01)), norms=True, execution="graph",
        regularizer=tl.l2(0.01), **options,
    )
    history = trainer.fit(data, batch_size=5, epochs=2, callbacks=[last])
    reported.append([history, last.found, last.nodes])
print(json.dumps(reported))
"""


@pytest.mark.soak
def test_norms_and_gradients_on_replicas_equal_those_on_one_device():
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
