"""Experiments whose model has several inputs or outputs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers.experiments import experiment

import trainlib as tl
from trainlib.experiment.model_building import build_models
from trainlib.experiment.model_signature import (
    PLAIN_SIGNATURE,
    by_output,
    inputs_of,
    loss_weights_of,
    main_output,
    resolve_columns,
    targets_of,
)
from trainlib.experiment.objective_building import build_losses
from trainlib.experiment.predictions import predict_test
from trainlib.experiment.run_evaluation import evaluate_run
from trainlib.experiment.run_prediction import predict_run
from trainlib.experiment.saved_run import read_saved_run, with_data
from trainlib.experiment.task_building import build_task
from trainlib.experiment.training_data import training_data
from trainlib.models.signature import ModelSignature

WIRED = (
    "--model=wide_deep",
    "--wide_columns=0",
    "--deep_columns=0-1",
    "--auxiliary_output",
    "--hidden=4",
)
QUICK = ("--epochs=2", "--batch_size=8", "--execution=graph", "--noreport", "--learning_rate=0.01")
RNG = np.random.default_rng(0)
X = RNG.normal([5.0, -3.0], [2.0, 0.5], (40, 2)).astype("float32")
Y = (X @ [0.5, 2.0]).astype("float32")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of a model of two inputs and two outputs."""
    folder = tmp_path_factory.mktemp("wired")
    np.savez(folder / "numbers.npz", x=X, y=Y)
    weights = "--loss_weights=main=0.9,aux=0.1"
    config = experiment(f"--dataset={folder / 'numbers.npz'}", *WIRED, weights, *QUICK)
    return tl.run_experiment(config, folder / "run")


def test_each_input_takes_its_columns_and_each_output_predicts_the_targets():
    signature = ModelSignature({"wide": (0,), "deep": (1, 0)}, ("main", "aux"))
    found = inputs_of(signature, X)
    np.testing.assert_array_equal(found["wide"], X[:, :1])
    np.testing.assert_array_equal(found["deep"], X[:, ::-1])
    assert by_output(signature, 3) == {"main": 3, "aux": 3}
    assert targets_of(signature, Y) == {"main": Y, "aux": Y}
    assert main_output(signature, {"aux": 1, "main": 2}) == 2


def test_a_model_of_one_input_and_one_output_takes_the_data_as_they_are():
    assert inputs_of(PLAIN_SIGNATURE, X) is X
    assert by_output(PLAIN_SIGNATURE, Y) is Y and targets_of(PLAIN_SIGNATURE, Y) is Y


def test_arrays_by_name_are_taken_as_they_are():
    x, y = {"wide": X}, {"main": Y}
    assert inputs_of(PLAIN_SIGNATURE, x) == x and targets_of(ModelSignature({}, ("main",)), y) == y


def test_results_are_named_by_output_and_weighted(finished):
    for results in (finished.test, *finished.history):
        total = 0.9 * results["main_loss"] + 0.1 * results["aux_loss"]
        assert results["loss"] == pytest.approx(total, rel=1e-6)
        assert {"main_mean_absolute_error", "aux_mean_absolute_error"} <= set(results)
    assert {"val_main_loss", "val_aux_loss"} <= set(finished.history[0])


def test_a_saved_run_is_evaluated_and_predicts_by_each_output(finished):
    run = read_saved_run(finished.folder)
    assert evaluate_run(run) == pytest.approx(finished.test, rel=1e-6)
    predicted = predict_run(run)
    task = build_task(finished.config)
    assert [*predicted] == ["main", "aux"]
    for name, values in predicted.items():
        error = np.mean((values[:, 0] - task.test.y) ** 2)
        assert error == pytest.approx(finished.test[f"{name}_loss"], rel=1e-5)
    whole = evaluate_run(with_data(run, finished.config.dataset))
    assert whole["loss"] == pytest.approx(finished.test["loss"], rel=0.5)


def test_the_report_shows_each_output(finished):
    task = build_task(finished.config)
    built = build_models(finished.config, task)
    found = predict_test(finished.config, task, built)
    assert [*found] == ["main", "aux"]
    for predictions in found.values():
        assert predictions.predicted.shape == predictions.losses.shape == task.test.y.shape
        expected = (predictions.predicted - task.test.y) ** 2
        np.testing.assert_allclose(predictions.losses, expected, rtol=1e-5)
    assert np.any(found["main"].losses != found["aux"].losses)


def test_data_of_other_columns_are_refused(finished, tmp_path):
    np.savez(tmp_path / "wide.npz", x=np.ones([3, 1], "float32"))
    with pytest.raises(ValueError, match=r"columns must be of the columns 0 to 0 of the data"):
        predict_run(read_saved_run(finished.folder), str(tmp_path / "wide.npz"))


def test_classes_are_weighted_and_trained_on_logits_for_each_output():
    config = experiment(
        "--dataset=digits",
        "--model=wide_deep",
        "--auxiliary_output",
        "--class_weight=balanced",
        "--train_examples=64",
    )
    task = build_task(config)
    x, y, weights = training_data(config, task)
    assert set(y) == {"main", "aux"} and weights.shape == (len(x),)
    built = build_models(config, task)
    assert built.from_logits
    logits, scores = built.trained(x[:4]), built.full(x[:4])
    for name in ("main", "aux"):
        exponentials = np.exp(logits[name])
        expected = exponentials / exponentials.sum(-1, keepdims=True)
        np.testing.assert_allclose(scores[name], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--loss_weights=main=x", *WIRED), "^loss_weights must be numbers, .* 'x' for 'main'"),
        (("--loss_weights=main", *WIRED), "^loss_weights must be output=value, .* got 'main'"),
        (("--loss_weights=main=1,main=2", *WIRED), "^loss_weights must give output 'main' one"),
        (("--loss_weights=axu=1", *WIRED), "^unknown output of loss_weights .* mean 'aux'"),
        (("--loss_weights=main=1",), "^loss_weights is for a model of several outputs, and mlp"),
    ],
)
def test_weights_that_have_no_meaning_are_refused(flags, message):
    config = experiment(*flags)
    signature = (
        ModelSignature({}, ("main", "aux")) if "--auxiliary_output" in flags else PLAIN_SIGNATURE
    )
    with pytest.raises(ValueError, match=message):
        loss_weights_of(config, signature)


def test_outputs_have_losses_of_the_same_targets(finished):
    config = dataclasses.replace(finished.config, output_losses=("aux=mae",))
    task = build_task(config)
    found = build_losses(config, task, None)
    assert [float(loss([0.0], [[3.0]])[0]) for loss in found.values()] == [9, 3]
    config = dataclasses.replace(config, output_losses=("aux=poisson",))
    with pytest.raises(ValueError, match="^output_losses: poisson of output 'aux' takes other"):
        build_losses(config, task, None)


def test_the_weights_of_losses_are_kept_in_a_flag_file():
    config = experiment("--loss_weights=main=0.9,aux=0.1")
    assert config.loss_weights == ("main=0.9", "aux=0.1")
    assert tl.ExperimentConfig.from_flags(config.to_flags()) == config
    assert tl.ExperimentConfig.from_json(config.to_json()) == config


def test_columns_of_a_model_are_given_by_position_or_by_name():
    names = {"age": (0,), "kind": (1, 2)}
    model = tl.config("wide_deep", deep_columns="kind", wide_columns="2,age", activation="age")
    found = resolve_columns(model, (3,), names)
    assert found == {"deep_columns": "1,2", "wide_columns": "2,0", "activation": "age"}
    with pytest.raises(ValueError, match="^deep_columns must .* or with the columns age, kind"):
        resolve_columns(tl.config("wide_deep", deep_columns="ages"), (3,), names)


def test_fourier_features_of_a_table_are_of_the_columns_that_are_named(tmp_path):
    rows = [f"{a:.3f},{b:.3f},{y:.3f}" for (a, b), y in zip(X, Y, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["first,second,y", *rows]) + "\n")
    flags = (f"--dataset={tmp_path / 't.csv'}", "--target=y", "--model=mlp", "--hidden=4")
    config = experiment(*flags, "--fourier_features=3", "--fourier_columns=second")
    model = build_models(config, build_task(config)).full
    assert model.get_layer("fourier_features").columns == [1]
