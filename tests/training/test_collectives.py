"""Values that workers share, in a single process; test_replicas.py has the sums over replicas."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainlib.training import collectives
from trainlib.training.callback import Stop
from trainlib.training.collectives import all_reduce, any_worker, broadcast_from_chief
from trainlib.training.strategies import mirrored


@pytest.mark.parametrize("strategy", [None, "mirrored"])
def test_without_workers_values_stay_as_they_are(strategy):
    strategy = mirrored(1) if strategy else None
    assert broadcast_from_chief(strategy, 0.25) == 0.25
    assert any_worker(strategy, [True, False]) == [True, False]


@pytest.mark.parametrize(
    ("here", "others", "expected"),
    [
        ([Stop("pause", resumable=True)], [], Stop("pause", resumable=True)),
        ([Stop("pause", resumable=True), Stop("enough")], [], Stop("enough")),
        ([Stop("pause", resumable=True)], [Stop("far")], Stop("another worker requested it")),
        ([Stop("enough")], [Stop("far", resumable=True)], Stop("enough")),
        ([], [Stop("far", resumable=True)], Stop("another worker requested it", resumable=True)),
    ],
)
def test_workers_agree_on_a_stop_that_is_not_resumable(here, others, expected, monkeypatch):
    def flags(requests):
        stops = [bool(requests), any(not x.resumable for x in requests)]
        return np.array([False, False, *stops], float)

    def summed(strategy, mine):
        np.testing.assert_array_equal(mine, flags(here))
        return mine + flags(others)

    monkeypatch.setattr(collectives, "is_multi_worker", lambda strategy: True)
    monkeypatch.setattr(collectives, "_sum_over_workers", summed)
    assert collectives.agree_on_requests(None, here) == [expected]


def test_a_sum_over_one_replica_keeps_structure_dtypes_and_nones():
    tree = {"a": tf.constant([1.0, 2.0]), "b": (None, tf.constant([[3]], tf.int64)), "c": None}
    found = mirrored(1).run(all_reduce, (tree,))
    assert found["b"][0] is None and found["c"] is None
    assert found["a"].numpy().tolist() == [1.0, 2.0]
    assert found["b"][1].dtype == tf.int64 and found["b"][1].numpy().tolist() == [[3]]
