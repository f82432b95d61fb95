"""`train --pretrain=autoencoder --pretrain_data=...`, as a function."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers.experiments import QUICK, experiment, write_table

import trainlib as tl
from trainlib.callbacks import StopAfter
from trainlib.experiment.model_building import build_models
from trainlib.experiment.pretraining import pretrain_models, read_pretraining, unlabelled_inputs
from trainlib.experiment.result import Session
from trainlib.experiment.resume import resumed_config
from trainlib.experiment.run_folder import read_summary
from trainlib.experiment.task_building import build_task

FLAGS = (*QUICK, "--pretrain=autoencoder", "--pretrain_epochs=2", "--freeze=hidden.*")


def kernel(model):
    return model.get_layer("hidden_1").kernel.numpy()


def test_a_run_begins_with_the_pretrained_layers_and_a_resumed_one_does_not_pretrain(tmp_path):
    """The layers are frozen in training, so that the saved model has them as they were pretrained.

    Training examples that are left out are pretrained on too: 64 of the digits have labels here.
    """
    lines, config = [], experiment(*FLAGS, "--epochs=2")
    stopped = tl.run_experiment(
        config, tmp_path / "a", session=Session(log=lines.append), callbacks=[StopAfter(2)]
    )
    assert sum("pretraining, autoencoder, epoch" in x for x in lines) == 2
    result = tl.run_experiment(resumed_config(tmp_path / "a", {}), tmp_path / "a", resume=True)
    task = build_task(config)
    np.testing.assert_array_equal(kernel(result.model), kernel(stopped.model))
    assert not np.array_equal(kernel(result.model), kernel(build_models(config, task).full))
    assert not stopped.is_finished and result.model.get_layer("hidden_1").trainable
    (kept,) = read_pretraining(tmp_path / "a")
    assert kept["examples"] == task.dataset.train.size > 1000
    (stage,) = read_summary(tmp_path / "a")["pretraining"]["stages"]
    assert stage["loss"] == kept["history"][-1]["loss"] and "history" not in stage


def test_a_folder_that_cannot_be_written_is_refused_before_the_pretraining(tmp_path):
    (tmp_path / "file").touch()
    lines = []
    with pytest.raises(ValueError, match="^run_dir: .*file is a file, not a folder"):
        tl.run_experiment(
            experiment(*FLAGS), tmp_path / "file" / "a", session=Session(log=lines.append)
        )
    assert not lines


def test_data_without_labels_are_a_file_of_inputs_or_another_data_set(tmp_path):
    x = np.random.default_rng(0).integers(0, 16, (30, 8, 8)).astype("uint8")
    np.savez(tmp_path / "inputs.npz", x=x)
    np.savez(tmp_path / "other.npz", x=x[:, :4], y=np.arange(30) % 2)
    config = experiment(*FLAGS, f"--pretrain_data={tmp_path / 'inputs.npz'}")
    task = build_task(config)
    np.testing.assert_array_equal(unlabelled_inputs(config, task), x)
    named = dataclasses.replace(config.pretrain, data="digits")
    found = unlabelled_inputs(dataclasses.replace(config, pretrain=named), task)
    np.testing.assert_array_equal(found, task.dataset.train.x)
    other = dataclasses.replace(config.pretrain, data=str(tmp_path / "other.npz"))
    with pytest.raises(ValueError, match=r"other.npz has shape \(4, 8\), one of digits \(8, 8\)"):
        unlabelled_inputs(dataclasses.replace(config, pretrain=other), task)


def test_the_columns_of_a_table_are_masked_as_a_whole(tmp_path):
    kinds = np.array(["a", "b", "c", "b"] * 10)
    table = {"kind": kinds, "size": np.arange(40) / 7, "label": np.arange(40) % 2}
    write_table(tmp_path / "own.csv", **table)
    del table["label"]
    write_table(tmp_path / "unlabelled.csv", **table)
    config = experiment(
        f"--dataset={tmp_path / 'own.csv'}",
        f"--pretrain_data={tmp_path / 'unlabelled.csv'}",
        *("--pretrain=masked", "--pretrain_epochs=1", "--hidden=4", "--execution=graph"),
    )
    task = build_task(config)
    assert unlabelled_inputs(config, task).shape == (40, 4)
    (record,) = pretrain_models(config, task, build_models(config, task), lambda line: None)
    assert record["stage"] == "masked" and np.isfinite(record["val_loss"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--pretrain_epochs=3",), "pretrain_epochs needs pretrain, autoencoder or masked"),
        (("--pretrain=masked", "--pretrain_noise=0.1"), "pretrain_noise is for pretrain=auto"),
        (("--pretrain=masked", "--pretrain_layerwise"), "pretrain_layerwise is for pretrain=auto"),
        (("--pretrain=autoencoder", "--pretrain_mask=0.1"), "pretrain_mask is for pretrain=masked"),
        (("--pretrain=autoencoder", "--pretrain_noise=1"), "must be below 1 for dropout, got 1"),
        (
            ("--pretrain=autoencoder", "--pretrain_noise_kind=gaussian_noise"),
            "needs pretrain_noise",
        ),
        (("--pretrain=autoencoder", "--model=autoencoder"), "reconstructs its inputs itself"),
        (("--pretrain=siamese",), "pretrain"),
    ],
)
def test_settings_that_make_no_sense_are_refused(more, message):
    with pytest.raises(ValueError, match=message):
        experiment(*more)
