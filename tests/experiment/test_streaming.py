"""Experiments whose training data are read in each epoch."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from helpers.experiments import experiment

import trainlib as tl
from trainlib.experiment.model_building import build_models
from trainlib.experiment.partial_run import StopAfter
from trainlib.experiment.resume import resumed_config
from trainlib.experiment.task_building import build_task
from trainlib.experiment.training_data import steps_per_epoch, training_data

CODE = """
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)
x = rng.normal(size=(90, 4)).astype("float32")
y = (x.sum(1) > 0).astype("int64")


def data():
    made = tf.data.Dataset.from_tensor_slices((x, y))
    noisy = made.shuffle(90).map(lambda a, b: (a + tf.random.normal([4]), b))
    return {"train": noisy, "validation": made.take(20), "test": made.take(30)}


def plain():
    return data() | {"train": tf.data.Dataset.from_tensor_slices((x, y)).batch(16)}


def endless():
    return data() | {"train": plain()["train"].repeat()}


def named():
    parts = {}
    in_order = tf.data.Dataset.from_tensor_slices((x, y))
    for name, part in (data() | {"train": in_order}).items():
        parts[name] = part.map(lambda a, b: ({"a": a, "b": a[:2]}, {"side": b, "sum": a[0] + a[1]}))
    return parts


def without_validation():
    return {name: part for name, part in data().items() if name != "validation"}
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "streamed_parts.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)


def config(name, *flags):
    return experiment(
        f"--dataset=streamed_parts:{name}", "--stream_pipeline", "--batch_size=16",
        "--execution=graph", "--noreport", *flags,
    )  # fmt: skip


def batches(settings):
    task = build_task(settings)
    chunks = [[x[: c.stop] for x in c.examples] for c in training_data(settings, task).training()]
    return task, [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def test_batches_are_those_of_the_pipeline_as_the_loss_takes_them():
    task, (x, y, weight) = batches(
        config("plain", "--loss=categorical_crossentropy", "--class_weight=0:3")
    )
    np.testing.assert_array_equal(x, task.train.x)
    np.testing.assert_array_equal(y, task.train.y)
    np.testing.assert_array_equal(weight, np.where(task.train.y[:, 0] == 1, 3, 1))


MODEL = """
import keras


def both(shapes, units):
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    return keras.Model(inputs, {name: keras.layers.Dense(n)(joined) for name, n in units.items()})
"""


def test_several_outputs_train_as_keras_does_on_the_same_arrays(tmp_path):
    (tmp_path / "streamed_model.py").write_text(MODEL)
    options = "--model=streamed_model:both", "--optimizer=sgd", "--preprocess=none", "--epochs=1"
    settings = config("named", *options)
    found = tl.run_trial(settings)
    task = build_task(settings)
    model = build_models(settings, task).full
    losses = {"side": "sparse_categorical_crossentropy", "sum": "mse"}
    model.compile("sgd", losses, run_eagerly=True)
    model.fit(task.train.x, task.train.y, batch_size=16, shuffle=False, verbose=0)
    for ours, weight in zip(found.weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, weight, rtol=1e-4, atol=1e-6)
    expected = model.evaluate(task.test.x, task.test.y, verbose=0, return_dict=True)
    for name in ("loss", "side_loss", "sum_loss"):
        assert found.test[name] == pytest.approx(expected[name], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "flags", "steps"),
    [("plain", (), 6), ("data", ("--batch_size=20",), 5), ("endless", ("--steps_per_epoch=7",), 7)],
)
def test_an_epoch_has_the_batches_of_the_pipeline_or_the_given_number(name, flags, steps):
    settings = config(name, *flags)
    assert steps_per_epoch(settings, build_task(settings)) == steps


def test_a_stopped_run_is_resumed_to_the_same_bits_with_the_same_examples_only(tmp_path):
    settings = config("data", "--epochs=2")
    whole = tl.run_experiment(settings, tmp_path / "whole")
    assert whole.train is None and set(whole.test) == {"loss", "accuracy"}
    folder, code = tmp_path / "stopped", tmp_path / "streamed_parts.py"
    tl.run_experiment(settings, folder, callbacks=[StopAfter(8)])
    code.write_text(CODE.replace("default_rng(0)", "default_rng(12)"))
    del sys.modules["streamed_parts"]
    with pytest.raises(ValueError, match="crc32 of its first 90 examples"):
        tl.run_experiment(resumed_config(folder, {}), folder, resume=True)
    code.write_text(CODE)
    del sys.modules["streamed_parts"]
    resumed = tl.run_experiment(resumed_config(folder, {}), folder, resume=True)
    assert resumed.steps == 12 and resumed.params_sha256 == whole.params_sha256


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("without_validation", (), "validation_split 0.1: a streamed pipeline is not split"),
        ("data", ("--train_examples=9",), "train_examples needs all training examples in memory"),
        ("data", ("--oversample",), "oversample needs all"),
        ("data", ("--class_weight=balanced",), "class_weight=balanced needs all"),
        ("data", ("--model=autoencoder",), "model=autoencoder needs all"),
    ],
)
def test_settings_that_need_all_examples_are_refused(name, flags, message):
    with pytest.raises(ValueError, match=message):
        build_task(config(name, *flags))


def test_an_epoch_of_unknown_length_is_refused():
    settings = config("plain", "--batch_size=32")
    with pytest.raises(ValueError, match="give steps_per_epoch, or batch_size=16, that of the pip"):
        steps_per_epoch(settings, build_task(settings))
    with pytest.raises(ValueError, match="never ends: pass steps_per_epoch"):
        batches(config("endless"))
    with pytest.raises(ValueError, match="stream_pipeline is for your own pipelines"):
        build_task(experiment("--stream_pipeline"))
    with pytest.raises(ValueError, match="steps_per_epoch is for a pipeline that is streamed"):
        tl.DataConfig(steps_per_epoch=3)


def test_a_streamed_part_is_not_evaluated():
    task = build_task(config("plain"))
    assert list(task.parts()) == ["validation", "test"]
    with pytest.raises(ValueError, match="part train: it is a pipeline"):
        task.part("train")
