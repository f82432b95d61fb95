"""Sequences of integers, from `train` to `evaluate` and `predict`."""

from __future__ import annotations

import json

import numpy as np
import pytest


def tokens(count, seed):
    """Sequences of 6 integers below 9, padded; the class is whether one of them is 8."""
    generator = np.random.default_rng(seed)
    x = generator.integers(1, 9, (count, 6)) * (np.arange(6) < generator.integers(1, 7, (count, 1)))
    return x, (x == 8).any(1).astype(int)


@pytest.fixture
def written(tmp_path):
    for name, count in {"train": 80, "new": 30}.items():
        x, y = tokens(count, count)
        np.savez(tmp_path / f"{name}.npz", x=x, y=y)


def test_sequences_train_a_transformer_whose_vocabulary_is_recorded(command, written, tmp_path):
    flags = ("--model=rnn", "--cell=gru", "--units=8", "--embedding=4", "--epochs=2")
    more = ("--execution=graph", "--noreport", "--run_dir=run", "--optimizer=adam")
    done = command("train", "--dataset=train.npz", *flags, *more, "--learning_rate=0.02")
    assert (done.status, done.errors) == (0, "")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert "vocabulary" in json.dumps(config["model"]) and '"vocabulary": 9' in json.dumps(config)
    done = command("evaluate", "--run_dir=run", "--dataset=new.npz")
    assert set(json.loads(done.out)) == {"loss", "accuracy"}
    done = command("predict", "--run_dir=run", "--data=new.npz")
    assert done.out.startswith("class,p0,p1\n") and done.out.count("\n") == 31
    np.savez(tmp_path / "wide.npz", x=np.full((3, 6), 9), y=[0, 1, 0])
    for command_line in (("predict", "--data=wide.npz"), ("evaluate", "--dataset=wide.npz")):
        done = command(command_line[0], "--run_dir=run", command_line[1])
        assert done.status == 2
        assert "wide.npz holds the integer 9, but the model knows 0 to 8" in done.err
    done = command("train", "--dataset=train.npz", "--model=rnn", "--vocabulary=5")
    assert done.err == (
        "train: --vocabulary is 5, but train.npz holds the integer 8: give at least 9\n"
    )
