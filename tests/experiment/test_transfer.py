"""`train --model=RUN --replace_head --freeze=... --unfreeze_at=...`, as a function."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from helpers.experiments import QUICK, experiment

import trainlib as tl
from trainlib.callbacks import StopAfter
from trainlib.experiment.model_building import build_models
from trainlib.experiment.optimization import build_optimization
from trainlib.experiment.result import Session
from trainlib.experiment.resume import resumed_config
from trainlib.experiment.run_folder import read_summary
from trainlib.experiment.task_building import build_task
from trainlib.training.callback import as_callback

BASE = tuple(x for x in QUICK if not x.startswith(("--hidden", "--epochs", "--learning_rate")))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run on the ten digits, with two hidden layers."""
    folder = tmp_path_factory.mktemp("digits")
    scale = keras.layers.Rescaling(1 / 16)
    model = tl.models.mlp((8, 8), 10, "softmax", [scale], hidden=(8, 6))
    model.save(folder / "model.keras")
    return folder


@pytest.fixture(scope="module")
def even(tmp_path_factory):
    """A data set of two classes: whether a digit is even."""
    data = tl.data.load_dataset("digits")
    path = tmp_path_factory.mktemp("data") / "even.npz"
    np.savez(path, x=data.train.x[:60], y=data.train.y[:60] % 2)
    return path


def flags(run, even, *more):
    return (
        *BASE,
        f"--dataset={even}",
        "--train_examples=48",
        f"--model={run}",
        "--replace_head",
        "--freeze=hidden.*",
        *more,
    )


@pytest.fixture(scope="module")
def transferred(run, even, tmp_path_factory):
    """A run of two epochs, the hidden layers unfrozen after the first; what it logged, and kept."""
    lines, kept, folder = [], [], tmp_path_factory.mktemp("runs") / "even"
    config = experiment(
        *flags(run, even, "--epochs=2", "--unfreeze_at=1", "--learning_rate=0.01"),
        "--unfrozen_learning_rate=1e-3",
    )

    def keep(status):
        state = status.state()
        kept.append({k: x.numpy() for k, x in {**state.params, **state.model_state}.items()})

    session = Session(log=lines.append)
    callbacks = [as_callback(keep)]
    return tl.run_experiment(config, folder, session=session, callbacks=callbacks), lines, kept


def test_frozen_layers_are_those_of_the_run_and_unfrozen_ones_are_trained(run, transferred):
    result, _, (frozen, unfrozen) = transferred
    source = tl.models.load_model(str(run / "model.keras"))
    for name in ("hidden_1", "hidden_2"):
        path, kernel = f"{name}/kernel", source.get_layer(name).kernel.numpy()
        np.testing.assert_array_equal(frozen[path], kernel)
        assert not np.array_equal(unfrozen[path], kernel)
        assert result.model.get_layer(name).trainable, "the saved model is not frozen"


def test_the_log_the_history_and_the_summary_say_what_was_frozen(run, transferred):
    result, lines, _ = transferred
    count = 64 * 8 + 8 + 8 * 6 + 6
    frozen = f"frozen: hidden_1, hidden_2, {count} parameters"
    assert f"{frozen}; trained: hidden_1, hidden_2 after epoch 1" in lines
    assert "epoch 2: layers hidden.* are trained" in lines
    rates = [x["learning_rate"] for x in result.history]
    assert rates == pytest.approx([0.01, 0.001], rel=1e-6)
    assert read_summary(result.folder)["transfer"] == {
        "model": str(run / "model.keras"),
        "new_head": True,
        "frozen": ["hidden_1", "hidden_2"],
        "frozen_parameters": count,
        "unfrozen": [{"after": 1, "layers": ["hidden_1", "hidden_2"]}],
    }


@pytest.mark.soak
def test_a_resumed_run_ends_in_the_same_bits(transferred, tmp_path):
    result, *_ = transferred
    tl.run_experiment(result.config, tmp_path, callbacks=[StopAfter(3)])
    resumed = tl.run_experiment(resumed_config(tmp_path, {}), tmp_path, resume=True)
    assert resumed.params_sha256 == result.params_sha256


def test_layers_are_unfrozen_one_after_another_each_with_a_state_of_its_own(run, even):
    config = experiment(*flags(run, even, "--unfreeze_at=hidden_2@1; 3"))
    plan = build_models(config, build_task(config)).plan
    assert [(x.epochs, x.layers) for x in plan.steps] == [(1, ("hidden_2",)), (3, ("hidden_1",))]
    assert plan.rules == ("(hidden_2)/[^/]+:learning_rate*=1.0;(hidden_1)/[^/]+:learning_rate*=1.0")


def test_rates_fall_by_depth(run, even):
    given = [x for x in flags(run, even, "--learning_rate=0.1") if "freeze" not in x]
    config = experiment(*given, "--layer_decay=0.5")
    task = build_task(config)
    built = build_models(config, task)
    params = {v.path: v.value for v in built.trained.trainable_variables}
    table = build_optimization(config, 2, rules=built.plan.rules).table(params)
    rates = {line.split()[0]: line.split()[1] for line in table[1:]}
    assert rates["outputs/kernel"] == "0.1" and rates["hidden_2/bias"] == "0.05"
    assert rates["hidden_1/kernel"] == "0.025"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--model=mlp", "--replace_head"), "replace_head is for a saved model, but model is mlp"),
        (("--model=mlp", "--cut_at=hidden_1"), "cut_at is for a saved model"),
        (("--unfreeze_at=2",), "unfreeze_at needs freeze"),
        (("--freeze=x", "--unfrozen_learning_rate=1e-4"), "needs unfreeze_at"),
        (("--freeze=(",), "freeze: .* not a valid regular expression"),
        (("--freeze=x", "--unfreeze_at=a@0"), "'a@0' is neither a number of epochs, at least 1"),
        (("--freeze=x", "--unfreeze_at=a@2;b@2"), "two steps after 2 epochs: .* 'a|b@2'"),
        (("--freeze=x", "--unfreeze_at=10"), "no epoch is left after 10 of 10 epochs"),
        (("--layer_decay=0",), "layer_decay"),
        (
            ("--freeze=x", "--unfreeze_at=2", "--unfrozen_learning_rate=1", "--reduce_on_plateau"),
            "both change the learning rate",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(more, message):
    with pytest.raises(ValueError, match=message):
        experiment(*more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--freeze=conv.*",), "freeze: no layer fully matches 'conv.*'; .* hidden_1, hidden_2"),
        (("--noreplace_head", "--freeze=.*"), "freezes all layers with parameters: leave one"),
        (("--epochs=5", "--unfreeze_at=outputs@2"), "no layer that 'outputs' matches is frozen"),
        (("--cut_at=hidden_3",), "cut_at"),
    ],
)
def test_patterns_and_layers_that_the_model_lacks_are_refused(run, even, more, message):
    config = experiment(*flags(run, even, *more))
    with pytest.raises(ValueError, match=message):
        task = build_task(config)
        if "--noreplace_head" in more:
            task = task._replace(outputs=10)
        build_models(config, task)


def test_a_configuration_with_transfer_is_the_same_as_json_and_as_flags(run):
    transfer = tl.TransferConfig(freeze="a|b", unfreeze_at=2, unfrozen_learning_rate=1e-4)
    config = tl.ExperimentConfig(model=str(run), transfer=transfer)
    assert tl.ExperimentConfig.from_json(config.to_json()) == config
    assert tl.ExperimentConfig.from_flags(config.to_flags()) == config
    assert json.loads(config.to_json())["transfer"]["unfreeze_at"] == "2"
