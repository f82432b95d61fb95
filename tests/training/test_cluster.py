"""The cluster that TF_CONFIG describes."""

from __future__ import annotations

import json

from trainlib.training.cluster import Cluster, cluster


def test_the_chief_is_the_first_worker(monkeypatch):
    jobs = {"worker": ["a:1", "b:2"], "chief": ["c:3"]}
    task = {"type": "worker", "index": 1}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": task}))
    assert cluster() == Cluster(("c:3", "a:1", "b:2"), 2)
