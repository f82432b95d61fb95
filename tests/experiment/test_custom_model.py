"""Your own models of several inputs and outputs in experiments."""

from __future__ import annotations

import csv
import io
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.commands import run_command
from helpers.experiments import experiment

import trainlib as tl
from trainlib.experiment.custom_model import _looked_up
from trainlib.experiment.model_building import build_models, matched_task
from trainlib.experiment.predictions import predict_test, shown_examples
from trainlib.experiment.run_evaluation import evaluate_run
from trainlib.experiment.run_prediction import predict_run
from trainlib.experiment.saved_run import read_saved_run, with_data
from trainlib.experiment.task_building import build_task
from trainlib.experiment.training_data import training_data

L = keras.layers
RNG = np.random.default_rng(0)
ROWS = 40
NUMBERS = RNG.normal(5, 3, (ROWS, 3)).astype("float32")
PICTURES = RNG.integers(0, 256, (ROWS, 4, 4)).astype("uint8")
KINDS = np.arange(ROWS) % 3
PRICES = NUMBERS.sum(1)
ARRAYS = {"x_table": NUMBERS, "x_picture": PICTURES, "y_kind": KINDS, "y_price": PRICES}
MODULE = """
import keras

L = keras.layers


def two(shapes, units):
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    flat = [L.Flatten()(x) for x in inputs.values()]
    hidden = L.Dense(4, "relu")(L.Concatenate()(flat))
    return keras.Model(inputs, {name: L.Dense(n)(hidden) for name, n in units.items()})


def by_order(shapes, units):
    table, picture = keras.Input((3,), name="table"), keras.Input((4, 4), name="picture")
    hidden = L.Dense(4, "relu")(L.Concatenate()([L.Flatten()(picture), table]))
    price = L.Dense(1, name="price")(hidden)
    return keras.Model([picture, table], [price, L.Dense(3, "softmax", name="kind")(hidden)])


def one(shapes, units, pack=lambda y: {"main": y}):
    x = keras.Input((3,))
    return keras.Model(x, pack(L.Dense(units)(x)))


def one_in_a_list(shapes, units):
    return one(shapes, units, lambda y: [y])


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.price, self.kind, self.flat = L.Dense(1), L.Dense(3, "softmax"), L.Flatten()

    def call(self, x):
        both = L.concatenate([x["table"], self.flat(x["picture"])])
        return {"kind": self.kind(both), "price": self.price(both)}


def own(shapes, units):
    return Own()


def wide_deep(shapes, units):
    wide, deep = (keras.Input(shapes[name], name=name) for name in ("wide", "deep"))
    hidden = L.Dense(4, "relu")(deep)
    main = L.Dense(units, name="main")(L.Concatenate()([wide, hidden]))
    return keras.Model([wide, deep], [main, L.Dense(units, name="aux")(hidden)])


def words(shapes, units):
    ids, table = keras.Input(shapes["ids"], name="ids"), keras.Input(shapes["table"], name="table")
    vectors = L.Flatten()(L.Embedding(9, 2)(ids))
    return keras.Model([ids, table], L.Dense(units)(L.Concatenate()([vectors, table])))
"""
QUICK = ("--epochs=1", "--batch_size=8", "--execution=graph", "--noreport", "--learning_rate=0.01")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the module and the arrays."""
    path = tmp_path_factory.mktemp("several")
    (path / "several_models.py").write_text(MODULE)
    np.savez(path / "two.npz", **ARRAYS)
    return path


@pytest.fixture
def configured(folder):
    """`configured("two", *flags)`: an experiment with a model of the module."""

    def make(model, *flags, data="two.npz"):
        given = (f"--dataset={folder / data}", f"--model=several_models:{model}", *QUICK)
        return experiment(*given, f"--code_path={folder}", *flags)

    return make


@pytest.fixture(scope="module")
def finished(folder):
    """A run of a model of two inputs and two outputs."""
    flags = ("--dataset=two.npz", "--model=several_models:two", "--run_dir=run", *QUICK[:3])
    done = run_command(folder, "train", *flags, "--loss_weights=kind=0.5,price=0.1")
    assert (done.status, done.errors) == (0, "")
    return folder / "run"


def widths(model):
    """The numbers of columns that a model takes, by the names of its inputs."""
    return {name: tuple(x.shape[1:]) for name, x in model.input.items()}


@pytest.mark.parametrize("model", ["two", "by_order", "own"])
def test_inputs_and_outputs_are_found_by_name(configured, model):
    config = configured(model)
    task = build_task(config)
    assert task.shapes == {"table": (3,), "picture": (4, 4)}
    built = build_models(config, task)
    task = matched_task(task, built)
    assert {name: head.loss for name, head in task.heads.items()} == {
        "kind": "sparse_categorical_crossentropy",
        "price": "mean_squared_error",
    }
    x, y = training_data(config, task)
    found = {name: value.numpy() for name, value in built.full(x).items()}
    assert {name: value.shape[1:] for name, value in found.items()} == {"kind": (3,), "price": (1,)}
    np.testing.assert_allclose(found["kind"].sum(-1), 1, rtol=1e-5)
    assert set(y) == {"kind", "price"}


def test_each_input_is_scaled_by_its_values(configured):
    config = configured("by_order")
    task = build_task(config)
    built = build_models(config, task)
    x = task.train.x
    names = [layer.name for layer in built.full.layers]
    assert "table_standardize" in names and "picture_scale" in names
    inner = built.full.get_layer(names[-1])
    table = (x["table"] - x["table"].mean(0)) / x["table"].std(0)
    expected = dict(zip(("price", "kind"), inner([x["picture"] / 255, table]), strict=True))
    for name, value in built.full(x).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5)


def test_training_is_that_of_keras_on_the_same_arrays(configured):
    weights = "--loss_weights=kind=2,price=0.1"
    config = configured("by_order", "--optimizer=sgd", "--validation_split=0", weights)
    result = tl.run_trial(config)
    task = build_task(config)
    model = build_models(config, task).full
    model.compile(
        "sgd",
        {"kind": keras.losses.SparseCategoricalCrossentropy(), "price": "mse"},
        loss_weights={"kind": 2, "price": 0.1},
    )
    before = model.evaluate(task.train.x, task.train.y, verbose=0, return_dict=True)
    model.set_weights(result.weights)
    after = model.evaluate(task.train.x, task.train.y, verbose=0, return_dict=True)
    for name in ("loss", "kind_loss", "price_loss"):
        assert result.train[name] == pytest.approx(after[name], rel=1e-5)
    assert after["loss"] < before["loss"]


def test_a_run_at_a_shell_is_evaluated_and_predicts_each_output(folder, finished):
    run = read_saved_run(finished)
    found = evaluate_run(run)
    assert found == pytest.approx(run.summary["test"], rel=1e-6)
    assert {"kind_accuracy", "price_mean_absolute_error"} <= set(found)
    total = 0.5 * found["kind_loss"] + 0.1 * found["price_loss"]
    assert found["loss"] == pytest.approx(total, rel=1e-6)
    whole = evaluate_run(with_data(run, str(folder / "two.npz")))
    predicted = predict_run(run, str(folder / "two.npz"))
    assert whole["kind_accuracy"] == pytest.approx((predicted["kind"].argmax(1) == KINDS).mean())
    prices = predicted["price"][:, 0]
    assert whole["price_loss"] == pytest.approx(((prices - PRICES) ** 2).mean(), rel=1e-5)
    done = run_command(folder, "predict", "--run_dir=run", "--data=two.npz")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [*rows[0]] == ["kind_class", "kind_p0", "kind_p1", "kind_p2", "price_prediction"]
    assert [int(row["kind_class"]) for row in rows] == predicted["kind"].argmax(1).tolist()
    written = [float(row["price_prediction"]) for row in rows]
    np.testing.assert_allclose(written, prices, rtol=1e-5)


@pytest.mark.parametrize("model", ["one", "one_in_a_list"])
def test_a_single_output_in_a_structure_may_end_in_logits(model, configured, folder, tmp_path):
    np.savez(folder / "plain.npz", x=NUMBERS, y=KINDS)
    result = tl.run_experiment(configured(model, data="plain.npz"), tmp_path / "run")
    run = read_saved_run(tmp_path / "run")
    assert evaluate_run(run) == result.test
    predicted = predict_run(run)
    p = predicted["main"] if model == "one" else predicted
    y = build_task(result.config).test.y
    nll = -np.log(p[np.arange(len(y)), y].astype("float64")).mean()
    assert nll == pytest.approx(result.test["loss"], rel=1e-5)


@pytest.mark.soak
def test_a_report_has_each_output(folder, finished):
    pytest.importorskip("matplotlib")
    done = run_command(folder, "report", "run")
    assert done.status == 0, done.err
    text = (finished / "report.html").read_text()
    for title in ("test examples, output kind", "test examples, output price"):
        assert title in text
    assert {"kind_reliability.png", "price_residuals.png"} <= {x.name for x in finished.iterdir()}


def test_predictions_of_a_report_are_those_of_each_output(configured):
    config = configured("two")
    task = build_task(config)
    built = build_models(config, task)
    found = predict_test(config, matched_task(task, built), built)
    outputs = {name: value.numpy() for name, value in built.full(task.test.x).items()}
    np.testing.assert_allclose(found["kind"].scores, outputs["kind"], rtol=1e-4, atol=1e-6)
    rows = np.arange(task.test.size)
    expected = -np.log(outputs["kind"][rows, task.test.y["kind"]])
    np.testing.assert_allclose(found["kind"].losses, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["price"].predicted, outputs["price"][:, 0], rtol=1e-4)
    assert shown_examples(task).x.shape == (8, 4, 4)


@pytest.mark.soak
def test_columns_of_a_table_are_those_of_each_input(configured, folder):
    header = "age,income,kind,price"
    rows = [f"{20 + k},{k * k % 7},{'abc'[k % 3]},{k / 4}" for k in range(ROWS)]
    (folder / "people.csv").write_text("\n".join([header, *rows]) + "\n")
    config = configured("wide_deep", "--input_columns=wide=age,kind;deep=0-1", data="people.csv")
    result = tl.run_experiment(config, folder / "table")
    assert widths(result.model) == {"wide": (4,), "deep": (2,)}
    assert {"main_loss", "aux_loss", "main_mean_absolute_error"} <= set(result.test)
    run = read_saved_run(result.folder)
    assert evaluate_run(run) == pytest.approx(result.test, rel=1e-6)
    predicted = predict_run(run, str(folder / "people.csv"))
    assert {name: x.shape for name, x in predicted.items()} == {"main": (ROWS, 1), "aux": (ROWS, 1)}


@pytest.mark.soak
def test_a_model_of_a_file_of_several_inputs_is_trained(configured, folder):
    model = build_models(configured("by_order"), build_task(configured("by_order"))).full
    model.get_layer(model.layers[-1].name).save(folder / "two.keras")
    data, file = f"--dataset={folder / 'two.npz'}", f"--model={folder / 'two.keras'}"
    config = experiment(data, file, *QUICK)
    result = tl.run_trial(config)
    assert {"kind_loss", "price_loss"} <= set(result.test)
    assert widths(result.build_model()) == {"table": (3,), "picture": (4, 4)}


def test_integers_that_are_looked_up_are_not_scaled(configured, folder):
    ids = RNG.integers(0, 9, (ROWS, 5))
    np.savez(folder / "words.npz", x_ids=ids, x_table=NUMBERS, y=PRICES)
    config = configured("words", data="words.npz")
    task = build_task(config)
    built = build_models(config, task)
    names = {layer.name for layer in built.full.layers}
    assert "table_standardize" in names and "ids_standardize" not in names
    inner = built.full.layers[-1]
    scaled = built.full.get_layer("table_in_standard_deviations").output
    table = keras.Model(built.full.input, scaled)(task.train.x)
    expected = inner([tf.constant(task.train.x["ids"]), table])
    np.testing.assert_allclose(built.full(task.train.x), expected, rtol=1e-5)


@pytest.mark.soak
def test_wide_deep_takes_two_arrays(folder, configured):
    np.savez(folder / "wd.npz", x_wide=NUMBERS[:, :1], x_deep=NUMBERS, y=PRICES)
    flags = (f"--dataset={folder / 'wd.npz'}", "--model=wide_deep", "--hidden=4", *QUICK)
    result = tl.run_trial(experiment(*flags))
    assert widths(result.build_model()) == {"wide": (1,), "deep": (3,)}


COLUMNS = {"x": NUMBERS, "y": PRICES}
REFUSED: dict[str, Any] = {
    "two inputs for one": (
        "mlp",
        {"x_a": NUMBERS, "x_b": NUMBERS, "y": KINDS},
        "",
        "^model mlp has one input, .* a, b: wide_deep",
    ),
    "two targets for one": (
        "mlp",
        {"x": NUMBERS, "y_a": KINDS, "y_b": KINDS},
        "",
        "^model mlp predicts one array y, .* y_a, y_b",
    ),
    "another input": (
        ":by_order",
        {"x_table": NUMBERS, "x_photo": PICTURES, "y": PRICES},
        "",
        "has the inputs picture .* own.npz has table .*, photo",
    ),
    "another output": (
        ":by_order",
        {**ARRAYS, "y_cost": PRICES},
        "",
        "outputs price, kind; own.npz has y_kind, y_price, y_cost",
    ),
    "other units": (
        ":by_order",
        {**ARRAYS, "y_kind": KINDS % 2},
        "",
        r"output 'kind' .* shape \(3,\); .* needs \(2,\)",
    ),
    "class weights": (":two", ARRAYS, "--class_weight=balanced", "^class_weight is for one array"),
    "oversampling": (":two", ARRAYS, "--oversample", "^oversample is for one array"),
    "strata": (
        ":two",
        ARRAYS,
        "--stratify=yes",
        "^stratify=yes is for classes, but there are several",
    ),
    "a loss of classes": (
        ":two",
        ARRAYS,
        "--loss=hinge",
        "y_price of own.npz has numbers .* output_losses=price=",
    ),
    "no such output": (
        ":two",
        ARRAYS,
        "--output_losses=axu=mse",
        "unknown output of output_losses",
    ),
    "augmentation": (":two", ARRAYS, "--augment=flip", "^augment takes images of one input"),
    "no table": (":two", ARRAYS, "--input_columns=a=0", "^input_columns is for tables"),
    "a model by name": (
        "mlp",
        COLUMNS,
        "--input_columns=a=0",
        "^input_columns is for your own models; mlp",
    ),
    "no columns": (
        ":wide_deep",
        COLUMNS,
        "--input_columns=wide",
        "^input_columns must list the columns",
    ),
    "no such column": (
        ":wide_deep",
        COLUMNS,
        "--input_columns=wide=0;deep=3",
        "^input_columns of deep must be of the columns 0 to 2",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(folder, tmp_path, name):
    model, data, flag, message = REFUSED[name]
    np.savez(tmp_path / "own.npz", **data)
    model = f"several_models{model}" if model.startswith(":") else model
    flags = (f"--dataset={tmp_path / 'own.npz'}", f"--model={model}", f"--code_path={folder}")
    config = experiment(*flags, *QUICK, *filter(None, [flag]))
    with pytest.raises(ValueError, match=message):
        tl.run_experiment(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_losses_and_metrics_are_chosen_by_output(configured):
    config = configured("two", "--output_losses=price=mae", "--metrics=accuracy,mean_squared_error")
    result = tl.run_trial(config)
    assert set(result.test) == {
        *("loss", "kind_loss", "price_loss", "kind_accuracy", "price_mean_squared_error")
    }
    assert build_task(config).heads["price"].loss == "mean_absolute_error"


class Words(L.Layer):
    def __init__(self):
        super().__init__()
        self.rows = L.Embedding(9, 4)

    def call(self, x):
        return keras.ops.mean(self.rows(x), axis=1)


def nested_words():
    return keras.Sequential([keras.Input((5,)), L.Embedding(9, 4), L.GlobalAveragePooling1D()])


@pytest.mark.parametrize("make", [nested_words, Words])
def test_indices_of_an_embedding_inside_of_a_layer_are_not_scaled(make):
    text, other = keras.Input((5,), name="text"), keras.Input((5,), name="other")
    table, shared = keras.Input((3,), name="table"), make()
    joined = L.Concatenate()([shared(text), shared(other), L.Dense(2)(table)])
    found = _looked_up(keras.Model([text, other, table], L.Dense(1)(joined)))
    assert {id(text), id(other)} <= found and id(table) not in found
