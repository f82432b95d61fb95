"""Functions of the user's by `module:name`: found, recorded in the run, and read again."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.experiments import experiment

import trainlib as tl
from trainlib.experiment import run_folder
from trainlib.experiment.model_building import build_models
from trainlib.experiment.objective_building import build_loss, build_metrics, build_regularizer
from trainlib.experiment.optimization import build_optimization
from trainlib.experiment.run_evaluation import evaluate_run
from trainlib.experiment.run_prediction import predict_run
from trainlib.experiment.saved_run import read_saved_run
from trainlib.experiment.task_building import build_task

MODULE = """
import keras, tensorflow as tf, trainlib as tl, numpy as np

class Scale(keras.layers.Layer):
    def build(self, shape):
        self.k = self.add_weight(shape=(shape[-1],), initializer="ones", name="k")
    def call(self, x):
        return x * self.k

class Subclass(keras.Model):
    def __init__(self, outputs, **options):
        super().__init__(**options)
        self.outputs_, self.scale, self.dense = outputs, Scale(), keras.layers.Dense(outputs)
    def call(self, x):
        return keras.ops.softmax(self.dense(self.scale(x)))
    def get_config(self):
        return {"outputs": self.outputs_, **super().get_config()}

def ending(*last):
    def net(shape, outputs):
        layers = [keras.Input(shape), Scale(), keras.layers.Dense(outputs)]
        return keras.Sequential([*layers, *(layer() for layer in last)])
    return net

logits, softmax = ending(), ending(keras.layers.Softmax)
sigmoid = ending(lambda: keras.layers.Activation("sigmoid"))

def subclass(shape, outputs):
    return Subclass(outputs)

def lazy(shape, outputs):
    from MODULE_more import Double
    layers = [Double(), keras.layers.Dense(outputs, activation="softmax")]
    return keras.Sequential([keras.Input(shape), *layers])

def data():
    r = np.random.default_rng(0)
    x = r.normal(size=(80, 3))
    return x, (x[:, 0] > 0).astype("int64")

def numbers():
    r = np.random.default_rng(0)
    x = r.normal(size=(80, 3)).astype("float32")
    return (x[:60], x[:60, 0]), (x[60:], x[60:, 0])

def loss(y_true, y_pred):
    return tf.square(tf.cast(y_true, y_pred.dtype) - y_pred[:, 0])

def brier(y_true, y_pred):
    return tf.reduce_sum(tf.square(tf.one_hot(y_true, 2) - y_pred), -1)

def smooth():
    return tl.metrics.f1_score(average="micro")

def opt(learning_rate=0.25):
    return tl.sgd(learning_rate, momentum=0.5)

fixed = tl.adam(0.125)

def step_rate(step):
    return 0.5 / (1.0 + tf.cast(step, tf.float32))

def linear(learning_rate, total_steps):
    return lambda step: learning_rate * (1 - tf.cast(step, tf.float32) / total_steps)

def penalty(params):
    return sum(tf.reduce_sum(tf.abs(w)) for w in tf.nest.flatten(params))

def above(w):
    return tf.maximum(w, 0.5)

def wrong(y_true, y_pred):
    return y_pred["head"]

number = 1.5
"""
MORE = """
import keras
class Double(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""

SOAK = pytest.mark.soak


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The name of a module of the user's in the working directory, known to no other test."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"mine_{tmp_path.name}".replace("-", "_")
    for file, text in ((name, MODULE), (f"{name}_more", MORE)):
        (folder / f"{file}.py").write_text(textwrap.dedent(text).replace("MODULE", name))
    yield name
    for module in [x for x in sys.modules if x.startswith(name)]:
        del sys.modules[module]


def config_of(mine, **settings):
    options = {"epochs": 1, "execution": "graph", "report": False, "batch_size": 16}
    settings.setdefault("dataset", f"{mine}:data")
    return tl.ExperimentConfig(**{**options, **settings})


def elsewhere(tmp_path, monkeypatch, mine):
    """Change the working directory, and forget the module, as another process would."""
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    for module in [x for x in sys.modules if x.startswith(mine)]:
        del sys.modules[module]
    monkeypatch.setattr(sys, "path", [x for x in sys.path if not x.startswith(str(tmp_path))])


@pytest.mark.parametrize(
    "model",
    [
        "subclass",
        *(pytest.param(x, marks=SOAK) for x in ("logits", "softmax", "sigmoid", "lazy")),
    ],
)
def test_a_run_of_a_custom_model_is_read_again_from_elsewhere(model, mine, tmp_path, monkeypatch):
    config = config_of(mine, model=f"{mine}:{model}", optimizer=tl.config("sgd", learning_rate=3.0))
    result = tl.run_experiment(config, tmp_path / "run")
    x = mine_data(mine)
    elsewhere(tmp_path, monkeypatch, mine)
    run = read_saved_run(tmp_path / "run")
    assert run.config.code_path == str(tmp_path / "code")
    again = evaluate_run(run)
    assert again["loss"] == pytest.approx(result.test["loss"], rel=1e-5)
    predicted = predict_run(run)
    assert predicted.min() >= 0 and predicted.max() <= 1
    np.testing.assert_allclose(predicted, result.model(x[-len(predicted) :]), rtol=1e-5, atol=1e-6)
    assert list(again) == ["loss", "accuracy"]


def mine_data(mine):
    """The test examples of `data`."""
    return build_task(config_of(mine)).test.x


@SOAK
def test_a_model_of_a_run_starts_another(mine, tmp_path, monkeypatch):
    tl.run_experiment(config_of(mine, model=f"{mine}:softmax"), tmp_path / "run")
    elsewhere(tmp_path, monkeypatch, mine)
    data = f"{mine}:data"
    config = tl.ExperimentConfig(
        dataset=data,
        code_path=str(tmp_path / "code"),
        model=str(tmp_path / "run" / "model.keras"),
        epochs=1,
        execution="graph",
        report=False,
    )
    result = tl.run_experiment(config, tmp_path / "second")
    assert result.config.imports == (mine,)
    assert result.config.code_path == str(tmp_path / "code")
    assert "loss" in evaluate_run(read_saved_run(tmp_path / "second"))


def test_code_that_moved_is_found_by_its_code_path(mine, tmp_path, monkeypatch):
    tl.run_experiment(config_of(mine, model=f"{mine}:softmax"), tmp_path / "run")
    elsewhere(tmp_path, monkeypatch, mine)
    (tmp_path / "code").rename(tmp_path / "moved")
    with pytest.raises(
        ValueError, match=rf"^imports {mine}: No module named '{mine}' in .*, the code_path"
    ):
        evaluate_run(read_saved_run(tmp_path / "run"))
    assert "loss" in evaluate_run(read_saved_run(tmp_path / "run", str(tmp_path / "moved")))


def test_the_loss_that_is_reported_is_that_of_the_saved_model_in_keras(mine, tmp_path):
    for name in ("sigmoid", "logits"):
        config = config_of(
            mine, model=f"{mine}:{name}", optimizer=tl.config("sgd", learning_rate=3.0), epochs=8
        )
        result = tl.run_experiment(config, tmp_path / name)
        peer = keras.saving.load_model(tmp_path / name / "model.keras", custom_objects(mine))
        peer.compile(loss="sparse_categorical_crossentropy")
        task = build_task(config)
        right = peer.evaluate(task.test.x, task.test.y, verbose=0)
        assert result.test["loss"] == pytest.approx(right, rel=1e-5), name
        assert result.model(task.test.x).numpy().min() >= 0


def custom_objects(mine):
    return {"Scale": sys.modules[mine].Scale}


def test_a_loss_and_metrics_of_the_users(mine):
    names = [f"{mine}:brier", f"{mine}:smooth", "accuracy"]
    config = config_of(mine, loss=f"{mine}:loss", metrics=names)
    task = build_task(config)
    y, p = tf.constant([1, 0]), tf.constant([[0.25, 0.75], [1.0, 0.0]])
    loss = build_loss(config, task.loss, None)
    np.testing.assert_allclose(loss(y, p), [0.5625, 1.0])
    metrics = build_metrics(config, task, None)
    assert list(metrics) == ["brier", "smooth", "accuracy"]
    brier = metrics["brier"].compute(metrics["brier"].from_model_output(y, p))
    np.testing.assert_allclose(brier, 0.0625)
    smooth = metrics["smooth"].compute(metrics["smooth"].from_model_output(y, p))
    np.testing.assert_allclose(smooth, 1.0)


def test_a_metric_of_the_users_sees_probabilities(mine):
    config = config_of(mine, model=tl.config("mlp", hidden=[4]), metrics=f"{mine}:brier")
    task = build_task(config)
    built = build_models(config, task)
    assert built.from_logits
    metric = build_metrics(config, task, True)["brier"]
    z = tf.math.log(tf.constant([[0.25, 0.75], [0.5, 0.5]]))
    value = metric.compute(metric.from_model_output(tf.constant([1, 0]), z))
    np.testing.assert_allclose(value, (0.125 + 0.5) / 2, rtol=1e-6)


def rates(config, steps):
    made = build_optimization(config, steps)
    return [round(float(made.schedule(tf.constant(k, tf.int64))), 4) for k in range(3)]


def test_an_optimizer_and_schedules_of_the_users(mine):
    base = config_of(mine, optimizer=f"{mine}:opt")
    assert rates(base, 10) == [0.25, 0.25, 0.25]
    given = tl.config(f"{mine}:opt", learning_rate=0.5)
    config = dataclasses.replace(base, optimizer=given, schedule=f"{mine}:linear")
    assert rates(config, 4) == [0.5, 0.375, 0.25]
    assert rates(dataclasses.replace(base, schedule=f"{mine}:step_rate"), 4)[:2] == [0.5, 0.25]
    params = {"w": tf.constant([[1.0]])}
    optimizer = build_optimization(config, 4).optimizer
    updates, _ = optimizer.update({"w": tf.constant([[2.0]])}, optimizer.init(params), params)
    assert updates["w"].numpy().item() == -1.0


def test_an_optimizer_that_is_made_keeps_its_rate(mine):
    config = config_of(mine, optimizer=f"{mine}:fixed")
    made = build_optimization(config, 4)
    assert made.schedule is None
    with pytest.raises(ValueError, match="fixed has its own rates: leave learning_rate, "):
        build_optimization(dataclasses.replace(config, schedule=f"{mine}:step_rate"), 4)
    with pytest.raises(ValueError, match="fixed has its own rates"):
        given = tl.config(f"{mine}:fixed", learning_rate=1.0)
        build_optimization(dataclasses.replace(config, optimizer=given), 4)


def test_a_penalty_and_a_constraint_of_the_users(mine):
    config = config_of(mine, regularizer=f"{mine}:penalty", constraint=f"{mine}:above")
    assert float(build_regularizer(config)([tf.constant([[3.0, -4.0]])])) == 7.0
    optimizer = build_optimization(config, 4).optimizer
    params = {"w/kernel": tf.constant([[0.5, 2.0]])}
    updates, _ = optimizer.update(
        {"w/kernel": tf.constant([[1.0, 1.0]])}, optimizer.init(params), params
    )
    assert (params["w/kernel"] + updates["w/kernel"]).numpy().min() == 0.5


def test_data_of_the_users_are_classes_or_numbers(mine):
    task = build_task(config_of(mine))
    assert (task.dataset.classes, task.train.size + task.validation.size) == (2, 64)
    task = build_task(config_of(mine, dataset=f"{mine}:numbers"))
    assert (task.loss, task.test.size) == ("mean_squared_error", 20)


def test_everything_is_recorded_and_survives_flags_and_json(mine, tmp_path):
    config = config_of(
        mine,
        model=tl.config("mlp", hidden=[4]),
        loss=f"{mine}:loss",
        metrics=[f"{mine}:brier"],
        optimizer=f"{mine}:opt",
        schedule=f"{mine}:linear",
        regularizer=f"{mine}:penalty",
        constraint=f"{mine}:above",
    )
    assert tl.ExperimentConfig.from_flags(config.to_flags()) == config
    assert tl.ExperimentConfig.from_json(config.to_json()) == config
    result = tl.run_experiment(config, tmp_path / "run")
    assert result.config.imports == (mine,)
    assert run_folder.read_config(tmp_path / "run") == result.config
    assert evaluate_run(read_saved_run(tmp_path / "run")) == result.test
    assert sorted(result.test) == ["brier", "loss"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "{m}:wrong"}, r"^loss {m}:wrong: .*{m}.py, line \d+: TypeError: "),
        ({"loss": "{m}:number"}, "^loss {m}:number: must be a function, got float$"),
        ({"metrics": "{m}:wrong"}, r"^metric wrong: metric {m}:wrong: .*{m}.py, line \d+: Type"),
        ({"optimizer": "{m}:data"}, "must return a tl.Optimizer, got tuple; tl.interop"),
        ({"dataset": "{m}:opt"}, "^dataset {m}:opt: must return .*, got Optimizer"),
        ({"dataset": "{m}:none"}, "^dataset {m}:none: module '{m}' has no attribute 'none'"),
        ({"model": "{m}:opt"}, r"^model {m}:opt: "),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_folder_is_made(settings, message, mine, tmp_path):
    given = {name: value.format(m=mine) for name, value in settings.items()}
    with pytest.raises((ValueError, TypeError), match=message.replace("{m}", mine)):
        tl.run_experiment(config_of(mine, **given), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_name_without_its_module_is_refused():
    with pytest.raises(ValueError, match="^loss ':f': must be written module:function$"):
        experiment("--loss=:f")
    assert not Path(":f").exists()
