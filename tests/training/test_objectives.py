"""The loss and the metrics of a trainer: their names and forms, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.losses import LossByOutput
from trainlib.metrics import OutputMetric
from trainlib.training.objectives import objective_for_model

L = keras.layers


def two(activation="softmax"):
    x = keras.Input((2,))
    return keras.Model(x, [L.Dense(1, name="main")(x), L.Dense(3, activation, name="aux")(x)])


def one():
    return keras.Sequential([keras.Input((2,)), L.Dense(1, name="last")])


MODEL = two()
CROSS = "sparse_categorical_crossentropy"
BOTH = {"main": "mse", "aux": CROSS}


def names(metrics, model=MODEL, loss=None):
    return list(objective_for_model(model, loss or BOTH, metrics).metrics)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ((), []),
        (["mae", "accuracy"], ["main_mae", "aux_accuracy"]),
        ([["mae", "mse"], None], ["main_mae", "main_mse"]),
        ({"aux": "acc"}, ["aux_acc"]),
        ({"aux": {"top": "accuracy"}, "main": []}, ["aux_top"]),
        ({"main": [keras.metrics.RootMeanSquaredError()]}, ["main_root_mean_squared_error"]),
        ({"main": keras.losses.Huber(), "aux": len}, ["main_huber_loss", "aux_len"]),
        ({"aux": {"f": tl.metrics.f1_score()}}, ["aux_f"]),
    ],
)
def test_metrics_have_the_name_of_their_output(metrics, expected):
    assert names(metrics) == expected


def test_metrics_of_one_output_have_no_prefix():
    assert names({"last": ["mae"]}, one(), "mse") == ["mae"]
    assert names([["mae", "mse"]], one(), "mse") == ["mae", "mse"]
    assert names(["mae"], one(), {"last": "mse"}) == ["mae"]
    assert names({"error": "mae"}, one(), "mse") == ["error"]


def test_one_loss_is_for_each_output_but_a_custom_function_is_for_all_together():
    loss = objective_for_model(MODEL, tl.losses.mean_squared_error, ()).loss
    assert isinstance(loss, LossByOutput) and list(loss.trained) == ["main", "aux"]

    def of_both(y_true, y_pred):
        return tf.reduce_sum(y_pred[0] - y_true, -1)

    found = objective_for_model(MODEL, of_both, ()).loss
    assert not isinstance(found, LossByOutput)


def test_weights_are_by_name_or_in_order():
    for weights in ({"aux": 0.1, "main": 0.9}, [0.9, 0.1], (0.9, 0.1)):
        loss = objective_for_model(MODEL, BOTH, (), weights).loss
        assert dict(loss.weights) == {"main": 0.9, "aux": 0.1}
    only = {"main": "mse", "aux": None}
    for weights in ([0.9, 0.1], {"main": 0.9}, 0.9):
        assert dict(objective_for_model(MODEL, only, (), weights).loss.weights) == {"main": 0.9}


def test_each_output_shows_whether_it_ends_in_logits():
    targets, outputs = tf.constant([0, 2]), tf.constant([[1.0, 2.0, 0.5], [0.1, 0.2, 0.7]])
    from_logits = float(
        tf.reduce_mean(
            tl.losses.sparse_categorical_crossentropy(targets, outputs, from_logits=True)
        )
    )
    for model, options in ((two(None), {}), (two("relu"), {"from_logits": True})):
        loss = objective_for_model(model, BOTH, (), **options).loss
        assert float(tf.reduce_mean(loss.losses["aux"](targets, outputs))) == pytest.approx(
            from_logits
        )
    by_name = objective_for_model(two("relu"), BOTH, ["mae", "auc"], from_logits={"aux": True})
    assert isinstance(by_name.metrics["aux_auc"], OutputMetric)
    with pytest.raises(ValueError, match="^from_logits is True, but the model ends in a softmax"):
        objective_for_model(MODEL, BOTH, (), from_logits={"aux": True})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"main": "mse"}, ()), "^loss has no entry for output 'aux'"),
        (({"main": "mse", "axu": "mse"}, ()), "^loss has an entry for 'axu', .* mean 'aux'"),
        ((["mse"], ()), "^loss has 1 entries, but the model has 2 outputs"),
        (([None, None], ()), "^loss must have a loss for at least one output"),
        ((BOTH, ["mae"]), "^metrics has 1 entries, but the model has 2 outputs"),
        ((BOTH, {"mian": "mae"}), "^metrics has an entry for 'mian', .* mean 'main'"),
        ((BOTH, {"main": ["mae", "mae"]}), "^two results are named 'mae'"),
        ((BOTH, {"main": {"loss": "mae"}}), "^two results are named 'loss'"),
        ((BOTH, (), {"main": 1.0}), "^loss_weights has no entry for output 'aux'"),
        ((BOTH, (), [1.0, 2.0, 3.0]), "^loss_weights has 3 entries"),
        ((BOTH, (), 0.5), "^loss_weights must have a weight for each of the outputs main, aux"),
        ((lambda y, p: p[0], (), [1.0]), "^loss_weights has 1 entries"),
        ((BOTH, (), None, {"mian": True}), "^from_logits has an entry for 'mian'"),
        (({"main": "mse", "aux": "mae"}, (), None, True), "no loss has a form for logits"),
    ],
)
def test_arguments_for_other_outputs_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        objective_for_model(MODEL, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((BOTH, "mae"), "^metrics of a model of several outputs must be a dict"),
        ((BOTH, (), {"main": 1.0, "aux": "x"}), "^the weight of 'aux' in loss_weights must be"),
        ((BOTH, (), None, {"aux": "yes"}), "^from_logits must be True, False or None"),
    ],
)
def test_arguments_of_another_type_are_refused(arguments, message):
    with pytest.raises(TypeError, match=message):
        objective_for_model(MODEL, *arguments)


def test_one_output_has_no_weights_of_several():
    with pytest.raises(ValueError, match="^loss_weights needs a loss by output"):
        objective_for_model(tl.FunctionalModel(lambda *_: None, {}), "mse", (), [1.0])
    assert objective_for_model(one(), "mse", (), 2.0).loss.weight("last") == 2.0


def test_a_model_that_shows_no_outputs_is_told_of_them_in_its_first_step():
    def apply_fn(w, state, x, training):
        return tl.ModelOutput({"a": w * x, "b": x}, state)

    x = np.ones([4, 1], "float32")
    data = x, {"a": x, "b": 2 * x}
    model = tl.FunctionalModel(apply_fn, tf.constant(3.0))
    results = tl.Evaluator(model, {"b": "mae", "a": "mse"}, metrics={"a": "mae"}).evaluate(data)
    assert results == {"loss": 5.0, "a_loss": 4.0, "b_loss": 1.0, "a_mae": 2.0}
    with pytest.raises(ValueError, match="^the model has no output 'c': .* are a, b"):
        tl.Evaluator(model, {"a": "mse", "c": "mse"}).evaluate((x, {"a": x, "c": x}))
