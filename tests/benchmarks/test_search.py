"""The benchmark of searches on a small scale: all contenders train the same candidates."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("optuna")
pytest.importorskip("sklearn")
SEARCH = Path(__file__).parents[2] / "benchmarks" / "search.py"


@pytest.mark.soak
def test_all_contenders_train_the_same_candidates(data_dir, tmp_path):
    output = tmp_path / "found.json"
    command = [sys.executable, str(SEARCH), "--quick", f"--output={output}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {name: rounds[0] for name, rounds in json.loads(output.read_text()).items()}
    assert {name: x["epochs"] for name, x in found.items()} == {
        "keras": 12,
        "estimator": 12,
        "tune": 12,
    }
    assert found["tune"]["errors"] == pytest.approx(found["estimator"]["errors"], rel=1e-3)
    assert found["keras"]["errors"] == pytest.approx(found["estimator"]["errors"], rel=0.2)
    assert "| tune |" in done.stdout.splitlines()[-1]
