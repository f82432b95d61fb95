"""The data of trials: their columns in folds, and pipelines that are read again."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.experiments import experiment, write_table

from trainlib.experiment.search.data import TaskCache
from trainlib.experiment.training_data import training_data

CODE = """
import numpy as np
import tensorflow as tf


def data():
    x = np.arange(40.0, dtype="float32").reshape(40, 1)
    made = tf.data.Dataset.from_tensor_slices((x, x[:, 0]))
    return {"train": made.shuffle(40), "validation": made.take(5), "test": made.take(5)}
"""


def test_each_fold_has_the_columns_of_its_own_table(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    kind = ["c" if row == 7 else "ab"[row % 2] for row in range(24)]  # one fold never sees c
    age, pay = np.linspace(20, 60, 24), np.linspace(1, 9, 24) ** 2
    write_table(tmp_path / "people.csv", kind=kind, age=age, pay=pay)
    columns = "--wide_columns=kind", "--deep_columns=age"
    config = experiment(f"--dataset={tmp_path / 'people.csv'}", "--model=wide_deep", *columns)
    tasks = TaskCache(folds=3).tasks(config)
    widths = {len(task.dataset.feature_names) for task in tasks}
    assert len(widths) == 2
    for task in tasks:
        deep = [task.dataset.feature_names[k] for k in task.signature.inputs["deep"]]
        assert deep == ["age"]


def test_each_trial_reads_a_pipeline_from_its_beginning(tmp_path, monkeypatch):
    (tmp_path / "searched_parts.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    config = experiment("--dataset=searched_parts:data", "--stream_pipeline", "--batch_size=40")
    cache, orders = TaskCache(), []
    for _ in range(2):
        (chunk,) = training_data(config, cache.task(config)).training()
        orders.append(chunk.examples[1])
    assert not np.array_equal(np.sort(orders[0]), orders[0])
    np.testing.assert_array_equal(*orders)
