"""Exported models predict raw values as the run's model does, and hold its classes."""

from __future__ import annotations

import dataclasses
import json
import warnings
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from helpers.experiments import QUICK, experiment

import trainlib as tl
from trainlib.experiment import export, serving
from trainlib.experiment.export_formats import EXPORTERS, Exporter
from trainlib.experiment.run_prediction import predict_run
from trainlib.experiment.saved_run import read_saved_run

TABLE = """age of owner,kind,price
20,cat,low
,dog,high
40,cat,low
41,dog,high
50,,low
60,emu,high
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on digits, whose model begins with the scaling of pixels."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    tl.run_experiment(experiment(*QUICK), folder)
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a table with numbers, text and empty cells."""
    pytest.importorskip("pandas")
    folder = tmp_path_factory.mktemp("runs")
    (folder / "pets.csv").write_text(TABLE + TABLE.partition("\n")[2] * 5)
    tl.run_experiment(experiment(*QUICK[2:], f"--dataset={folder}/pets.csv"), folder / "run")
    return folder / "run"


def predictions(run):
    """What the run's own model predicts for its first test examples."""
    return predict_run(read_saved_run(run))[:64]


def test_a_saved_model_takes_the_cells_of_a_table_and_names_the_class(table, tmp_path):
    found = tl.export_run(table, tmp_path / "pets" / "1")
    assert (found.examples, found.difference < 1e-6) == (36, True)
    serve = tf.saved_model.load(str(tmp_path / "pets" / "1")).signatures["serving_default"]
    cells = {"age_of_owner": [30.0, np.nan, 60.0], "kind": ["dog", "", "yak"]}
    dtypes = {"age_of_owner": tf.float64, "kind": tf.string}
    result = serve(**{name: tf.constant(x, dtypes[name]) for name, x in cells.items()})
    (table.parent / "new.csv").write_text("age of owner,kind\n30,dog\n,\n60,yak\n")
    expected = predict_run(read_saved_run(table), str(table.parent / "new.csv"))
    np.testing.assert_allclose(result["probabilities"], expected, atol=1e-6)
    names = np.array(["high", "low"])[expected.argmax(1)]
    assert [x.decode() for x in result["class"].numpy()] == names.tolist()
    described = json.loads((tmp_path / "pets" / "1" / "assets.extra" / "trainlib.json").read_text())
    assert described["inputs"]["age_of_owner"]["column"] == "age of owner"
    assert described["outputs"]["probabilities"]["classes"] == ["high", "low"]


def test_a_tflite_file_takes_raw_pixels_and_holds_the_classes(digits, tmp_path):
    path = tmp_path / "digits.tflite"
    tl.export_run(digits, path, "tflite")
    x = tl.data.load_dataset("digits").test.x[:64].astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the class will move to another package
        runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner()
    np.testing.assert_allclose(runner(x=x)["probabilities"], predictions(digits), atol=1e-6)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().split() == list("0123456789")
        assert json.loads(archive.read("trainlib.json"))["run"]["dataset"] == "digits"
    assert [file.name for file in tmp_path.iterdir()] == ["digits.tflite"]


def test_an_onnx_file_takes_raw_pixels_and_holds_the_classes(digits, tmp_path):
    onnx = need_onnx()
    found = tl.export_run(digits, tmp_path / "model.onnx", "onnx")
    assert found.difference < 1e-6
    (entry,) = onnx.load(str(tmp_path / "model.onnx")).metadata_props
    outputs = json.loads(entry.value)["outputs"]
    assert (entry.key, outputs["probabilities"]["classes"]) == ("trainlib", list("0123456789"))


@pytest.mark.soak
@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_a_table_of_numbers_with_empty_cells_is_exported(format, tmp_path):
    if format == "onnx":
        need_onnx()
    pytest.importorskip("pandas")
    rows = "".join(f"{k or ''},{k % 7},{k * k}\n" for k in range(60))
    (tmp_path / "squares.csv").write_text(f"a,b,c\n{rows}")
    flags = (*QUICK[2:], f"--dataset={tmp_path}/squares.csv", "--target=c")
    tl.run_experiment(experiment(*flags), tmp_path / "run")
    found = tl.export_run(tmp_path / "run", tmp_path / f"squares.{format}", format)
    assert found.examples == 60
    assert set(found.metadata["inputs"]) == {"a", "b"}


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_text_is_refused_where_a_format_has_none(format, table, tmp_path, monkeypatch):
    monkeypatch.setitem(export._PACKAGES, "onnx", ())
    message = "column 'kind' of .*pets.csv holds text, .*--format=saved_model"
    with pytest.raises(ValueError, match=message):
        tl.export_run(table, tmp_path / f"pets.{format}", format)
    assert list(tmp_path.iterdir()) == []


def need_onnx():
    """Return the package onnx; skip the test where it, or one beside it, is not installed."""
    for package in ("tf2onnx", "onnxruntime", "onnx"):
        found = pytest.importorskip(package, reason=f"{package} is not installed")
    return found


def test_parameters_are_those_of_the_saved_model(digits, tmp_path):
    found = tl.export_run(digits, tmp_path / "digits.npz", "npz")
    assert found.examples == 0
    again = tl.run_experiment(
        dataclasses.replace(
            experiment(*QUICK),
            parameters=str(tmp_path / "digits.npz"),
            optimizer=tl.config("sgd", learning_rate=0.0),
        ),
        tmp_path / "again",
    )
    np.testing.assert_array_equal(again.model.weights[0], saved_model(digits).weights[0])


def saved_model(run):
    return tl.models.load_model(str(run / "model.keras"))


def test_what_predicts_something_else_is_not_written(digits, tmp_path, monkeypatch):
    write, load = EXPORTERS["saved_model"]

    def other(served, path):
        served.plain.weights[0].assign_add(tf.ones_like(served.plain.weights[0]))
        write(served, path)

    monkeypatch.setitem(EXPORTERS, "saved_model", Exporter(other, load))
    with pytest.raises(ValueError, match="the exported model's probabilities differ by"):
        tl.export_run(digits, tmp_path / "served" / "digits" / "1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "format", "message"),
    [
        ("digits.onnx", "tflite", "a file of format tflite ends in .tflite"),
        ("there", "saved_model", "out there: exists already; choose another"),
        ("there.txt/digits.npz", "npz", "out: there.txt is a file, not a folder"),
        ("digits.pb", "pb", "unknown format 'pb'"),
    ],
)
def test_a_path_or_format_that_cannot_be_is_refused(
    path, format, message, digits, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there.txt").touch()
    with pytest.raises(ValueError, match=message):
        tl.export_run(digits, path, format)
    assert {file.name for file in tmp_path.iterdir()} == {"there", "there.txt"}


def test_a_missing_package_is_named(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(export._PACKAGES, "onnx", ("no_such_package",))
    with pytest.raises(ValueError, match="format onnx needs packages: pip install no_such_package"):
        tl.export_run(digits, tmp_path / "digits.onnx", "onnx")


def test_names_of_columns_become_names_of_a_signature():
    names = serving._signature_names(["a b", "a-b", "1st", "größe", "%"])
    assert list(names.values()) == ["a_b", "a_b_2", "column_1st", "gr_e", "column"]


MODELS = {
    "cnn": ("--model=cnn",),
    "resnet": ("--model=resnet", "--depth=8"),
    "separable_cnn": ("--model=separable_cnn",),
    "transformer": ("--model=transformer",),
    "rnn": ("--model=rnn", "--cell=gru"),
    "lstm": ("--model=rnn", "--cell=lstm", "--bidirectional"),
    "autoencoder": ("--model=autoencoder",),
    "wide_deep": (
        *("--dataset=california_housing", "--model=wide_deep", "--wide_columns=0-4"),
        *("--deep_columns=2-7", "--auxiliary_output"),
    ),
}


REFUSED = {
    ("rnn", "tflite"): "tf.TensorListReserve",
    ("lstm", "tflite"): "tf.TensorListReserve",
    ("transformer", "onnx"): "Erfc",
}
"""Models that a format cannot express, with the operation that it lacks."""


@pytest.mark.soak
@pytest.mark.parametrize("format", ["saved_model", "tflite", "onnx"])
@pytest.mark.parametrize("name", MODELS)
def test_each_model_is_exported(name, format, request, tmp_path):
    if name == "wide_deep":
        request.getfixturevalue("data_dir")
    if format == "onnx":
        need_onnx()
    flags = [flag for flag in QUICK if not flag.startswith("--hidden")]
    tl.run_experiment(experiment(*flags, *MODELS[name]), tmp_path / "run")
    if (name, format) in REFUSED:
        message = f"cannot be expressed as {format}: it has {REFUSED[name, format]}; --format=save"
        with pytest.raises(ValueError, match=message):
            tl.export_run(tmp_path / "run", tmp_path / f"model.{format}", format)
        return
    suffix = "" if format == "saved_model" else f".{format}"
    found = tl.export_run(tmp_path / "run", tmp_path / f"model{suffix}", format)
    assert found.examples == 64
