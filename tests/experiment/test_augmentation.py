"""The augmentation of a configuration, and its sheet in the report."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.experiments import QUICK, experiment

import trainlib as tl
from trainlib.experiment.augmentation import augmented_examples, build_augmentation
from trainlib.experiment.task_building import build_task
from trainlib.experiment.user_functions import modules_used

FLAG = "--augment=flip,rotation=0.1,contrast=0.2"


def built(*flags):
    config = experiment(*flags)
    return build_augmentation(config, build_task(config))


def test_pixels_have_the_range_that_the_data_set_states():
    expected = "flip=horizontal,rotation=0.1,contrast=0.2,value_range=0:16"
    assert built(FLAG).name == expected
    assert built() is None


def test_pixels_of_other_images_have_the_range_of_the_training_examples(tmp_path):
    x = np.linspace(-1, 3, 40 * 16, dtype="f4").reshape(40, 4, 4)
    path = tmp_path / "images.npz"
    parts = {
        "x_train": x[:30],
        "y_train": np.arange(30) % 2,
        "x_test": x,
        "y_test": np.arange(40) % 2,
    }
    np.savez(path, **parts)
    name = built(f"--dataset={path}", "--validation_split=0", FLAG).name
    low, high = name.rpartition("=")[2].split(":")
    assert float(low) == -1 and float(high) == pytest.approx(x[:30].max(), rel=1e-5)


def test_tables_are_refused(tmp_path):
    path = tmp_path / "columns.npz"
    np.savez(path, x=np.zeros((40, 3), "f4"), y=np.arange(40) % 2)
    message = r"augment is for images, but an example of columns.npz has the shape \[3\]: leave it"
    with pytest.raises(ValueError, match=message):
        built(f"--dataset={path}", "--augment=flip")


def test_an_unknown_step_is_refused_when_the_configuration_is_made():
    with pytest.raises(ValueError, match="unknown augmentation 'flp': did you mean 'flip'"):
        tl.DataConfig(augment="flp")


def test_a_configuration_keeps_its_augmentation():
    config = experiment(FLAG)
    assert config.data.augment == "flip,rotation=0.1,contrast=0.2"
    assert tl.ExperimentConfig.from_json(config.to_json()) == config
    assert tl.ExperimentConfig.from_flags(config.to_flags()) == config


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """
        import trainlib as tl

        def darker(x, y, key):
            return x // 2, y

        made = tl.augmentation.chain(tl.augmentation.flip("both"))
    """
    (tmp_path / "changes_of_mine.py").write_text("\n".join(x[8:] for x in text.splitlines()))


def test_a_custom_function_is_found_and_recorded(module):
    config = experiment("--augment=changes_of_mine:darker")
    task = build_task(config)
    assert build_augmentation(config, task).name == "changes_of_mine:darker"
    examples = augmented_examples(config, task)
    np.testing.assert_array_equal(examples.after[1], examples.before // 2)
    assert modules_used(config, tl.models.mlp((8, 8), 10))[0] == ("changes_of_mine",)
    assert built("--augment=changes_of_mine:made").name == "flip=both"


@pytest.mark.soak
def test_a_run_with_mixed_images_is_reported_with_a_sheet(tmp_path):
    augment = "--augment=mixup=1,cutmix,crop=1"
    result = tl.run_experiment(experiment(*QUICK, augment, "--report"), tmp_path / "a")
    assert np.isfinite(result.history[0]["loss"])
    page = (tmp_path / "a" / "report.html").read_text()
    assert "Augmented training examples" in page and "mixup=1,cutmix=1,crop=1" in page
    assert page.count('epoch 4"') == 8


def test_an_augmentation_that_does_not_suit_the_images_leaves_no_folder(tmp_path):
    config = experiment(*QUICK, "--augment=saturation=0.5")
    with pytest.raises(ValueError, match="saturation needs images of 3 channels, got 1"):
        tl.run_experiment(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
