"""The figures of README.md are what its commands reach on real data.

The execution is fixed: by default `train` measures which one is fastest, and runs in different
executions round differently. So do runs with one thread, which other tests have, and with several:
the commands run in processes with the threads that TensorFlow takes by itself. A seeded run then
gives the same figures on processors of different makers, so that one unit of the last printed digit
is allowed, one test example of 10,000.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from helpers.processes import ROOT, output_of

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\| `train (--dataset[^`]*)` \| (.*) \|$", README, re.MULTILINE)
UNIT = 1e-4
"""Of the last printed digit."""
SOAK = pytest.mark.soak


def table_row(name):
    """Return the numbers of a row of the table of seeds, by seed."""
    cells = re.search(rf"^\| {re.escape(name)} \|(.*)\|$", README, re.MULTILINE)[1].split("|")
    return {seed: float(cell) for seed, cell in enumerate(cells) if cell.strip()}


def summary_of(data_dir, folder: Path, flags: str):
    """Train with these flags in a fixed execution, and return the summary of the run."""
    execution = "graph" if "--model=cnn" in flags else "xla"
    more = (f"--data_dir={data_dir}", f"--execution={execution}", "--report=false")
    arguments = ("-m", "trainlib.cli.train", f"--run_dir={folder}", *more, *shlex.split(flags))
    output_of(*arguments, cwd=folder.parent, timeout=1800)
    return json.loads((folder / "summary.json").read_text())


def test_readme_has_four_commands_with_results():
    assert len(COMMANDS) == 4
    assert sum("california_housing" in flags for flags, _ in COMMANDS) == 1


@pytest.mark.parametrize(
    ("flags", "printed"),
    [
        pytest.param(flags, printed, marks=() if "california" in flags else SOAK)
        for flags, printed in COMMANDS
    ],
)
def test_a_command_of_readme_reaches_its_printed_result(flags, printed, data_dir, tmp_path):
    summary = summary_of(data_dir, tmp_path / "run", flags)
    name = "loss" if printed.startswith("mean squared error") else "accuracy"
    expected, *training = map(float, re.findall(r"\d+\.\d+", printed))
    assert summary["test"][name] == pytest.approx(expected, abs=UNIT)
    assert len(training) == int("training accuracy" in printed)
    for accuracy in training:
        assert summary["train"]["accuracy"] == pytest.approx(accuracy, abs=UNIT)


@SOAK
@pytest.mark.parametrize("seed", range(5))
def test_each_seed_reaches_the_accuracies_of_readme(seed, data_dir, tmp_path):
    (flags,) = (flags for flags, _ in COMMANDS if "--dataset=mnist" in flags)
    summary = summary_of(data_dir, tmp_path / "run", f"{flags} --seed={seed}")
    for part, name in (("train", "training, trainlib"), ("test", "test, trainlib")):
        assert summary[part]["accuracy"] == pytest.approx(table_row(name)[seed], abs=UNIT)


@SOAK
def test_model_fit_reaches_the_accuracies_of_readme(data_dir):
    script = ROOT / "benchmarks" / "keras_fit_mnist.py"
    found = json.loads(
        output_of(script, timeout=1800, TRAINLIB_DATA=str(data_dir)).splitlines()[-1]
    )
    for part in ("training", "test"):
        expected = table_row(f"{part}, `model.fit`")
        assert found[part] == pytest.approx(list(expected.values()), abs=UNIT)
