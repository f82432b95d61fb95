"""`train --nonfinite` and `--replay_step`: the message of a stopped run, and its replayed step."""

from __future__ import annotations

import json
import re

import pytest

DIVERGES = ("--optimizer=sgd", "--learning_rate=1e30", "--batch_size=8", "--run_dir=a")


def refuse(word):
    raise AssertionError(f"{word} is not JSON")


@pytest.fixture
def stopped(quick, tmp_path):
    """Return the number of the step at which a run stopped."""
    done = quick(*DIVERGES, "--nonfinite=stop")
    found = re.fullmatch(
        r"train: step (\d) \(batch \1 of 8 in epoch 1\): (the loss|the gradient of \S+) is not "
        r"finite; the state is that before it; to see where: train --resume=a --replay_step=\1\n",
        done.errors,
    )
    assert done.status == 1 and found, done.errors
    return found[1]


def files(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_a_run_stops_and_its_step_is_replayed(stopped, command, tmp_path):
    assert not (tmp_path / "a" / "summary.json").exists()
    before = files(tmp_path / "a")
    done = command("train", "--resume=a", f"--replay_step={stopped}")
    assert (done.status, done.errors) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == f"step {stopped}: batch {stopped} of 8 in epoch 1"
    (marked,) = [line for line in lines if line.startswith(">")]
    assert lines[-1].startswith("the first tensor that is not finite: ")
    assert " ".join(marked.split()[1:3]) in lines[-1]
    assert files(tmp_path / "a") == before
    done = command("train", "--resume=a", f"--replay_step={int(stopped) + 1}")
    assert done.status == 2
    assert f": the run ended before it: step {stopped} (batch {stopped} of 8" in done.errors


def test_a_stopped_run_is_resumed_with_bad_steps_skipped(stopped, command, tmp_path):
    assert command("train", "--resume=a").status == 1
    done = command("train", "--resume=a", "--nonfinite=skip")
    assert (done.status, done.errors) == (0, "")
    (line,) = [json.loads(x) for x in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert line["step"] + line["skipped_steps"] == 8
    done = command("train", "--resume=a", "--epochs=2", "--nonfinite=none")
    assert done.status == 2
    assert done.errors.startswith(
        "train: --nonfinite=none contradicts the run in a, made with --nonf"
    )


def test_by_default_a_run_that_diverges_ends_after_the_epoch(quick, tmp_path):
    done = quick(*DIVERGES, "--epochs=3")
    assert (done.status, done.errors) == (
        1,
        "train: the loss of epoch 1 is not finite; a run with --nonfinite=stop names the step\n",
    )
    assert not (tmp_path / "a" / "summary.json").exists()


def test_without_a_policy_the_files_stay_json(quick, tmp_path):
    assert quick(*DIVERGES, "--nonfinite=none").status == 0
    for name in ("metrics.jsonl", "summary.json"):
        found = json.loads((tmp_path / "a" / name).read_text(), parse_constant=refuse)
        assert (found if name == "metrics.jsonl" else found["test"])["loss"] is None


def test_a_run_without_a_checkpoint_cannot_roll_back(quick):
    done = quick(*DIVERGES, "--nonfinite=roll_back")
    assert done.status == 1
    assert "; no checkpoint to roll back to; to see where: train --resume=" in done.errors
    assert done.errors.count("\n") == 1


def test_any_step_of_a_finished_run_can_be_replayed(quick, command):
    assert quick("--run_dir=a", "--dropout=0.5").status == 0
    done = command("train", "--resume=a", "--replay_step=2")
    assert (done.status, done.errors) == (0, "")
    assert done.out.startswith("step 2: batch 2 of 2 in epoch 1\n")
    assert done.out.endswith("\nall tensors are finite\n")
    done = command("train", "--resume=a", "--replay_step=3")
    assert (done.status, done.errors) == (2, "train: --replay_step 3: the run ends after 2 steps\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--replay_step=2"], "--replay_step needs --resume, the folder of the run"),
        (["--nonfinite=halt"], "flag --nonfinite=halt: choose from none, epoch, sk"),
    ],
)
def test_invalid_flags_are_refused(flags, message, quick):
    done = quick(*flags)
    assert done.status == 2
    assert done.errors.startswith(f"train: {message}")


def test_several_workers_cannot_replay_a_step(run_dir, command, monkeypatch):
    hosts = ["127.0.0.1:2345", "127.0.0.1:2346"]
    task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    done = command("train", f"--resume={run_dir}", "--replay_step=1")
    assert (done.status, done.errors) == (
        2,
        "train: --replay_step is for one process, not for several workers\n",
    )
