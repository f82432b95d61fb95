"""The Python blocks of README.md run, one after another."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.pages import run_page

from trainlib.experiment import run


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Run all blocks in an empty folder, and return the names that they define."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_write_report", lambda *_: None)  # it takes longer than the training
        namespace = run_page("README.md", tmp_path_factory.mktemp("readme"), ["python"])
        namespace["files"] = {path.name for path in namespace["result"].folder.iterdir()}
    return namespace


def test_the_trainer_learns_the_digits(names):
    history = names["history"]
    assert [results["epoch"] for results in history] == [1, 2, 3, 4, 5]
    assert history[-1]["val_accuracy"] > 0.8
    assert names["trainer"].predict(names["x"]).shape == (1438, 10)


def test_the_experiment_leaves_the_files_that_readme_lists(names):
    assert names["files"] >= {
        "flags.txt",
        "config.json",
        "metrics.jsonl",
        "metrics.csv",
        "summary.json",
        "checkpoints",
        "model.keras",
    }
    assert set(names["result"].test) == {"loss", "accuracy"}
    assert "--schedule=cosine_decay" in names["longer"].to_flags()


def test_the_optax_loop_and_the_pure_step_change_the_parameters(names):
    assert np.all(names["params"]["body/kernel"] < 0)
    assert int(names["state"].step) == 1
    assert float(names["metrics"]["loss"].compute()) == 1.0


def test_a_keras_optimizer_is_continued(names):
    (state,) = names["opt_state"]
    assert int(state.step) == names["model"].optimizer.iterations.numpy() > 0
