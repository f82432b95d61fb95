"""`train --resume`: the flags of the run, what contradicts them, and the same bits."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from trainlib.experiment import run_folder

FLAGS = (
    "--train_examples=107",
    "--hidden=8",
    "--dropout=0.25",
    "--execution=graph",
    "--optimizer=sgd",
    "--momentum=0.75",
    "--learning_rate=0.01",
    "--reduce_on_plateau",
    "--reduce_on_plateau_patience=1",
    "--batch_size=16",
    "--epochs=3",
    "--noreport",
)
STEPS = 6
"""Batches of an epoch: 96 examples are trained on."""


def results(folder):
    summary = json.loads((folder / "summary.json").read_text())
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    del summary["date"]
    for found in (summary, *lines):
        del found["seconds"]
    return summary, lines


@pytest.fixture(scope="module")
def whole(quick_runs):
    """A run that is never stopped."""
    return quick_runs(*FLAGS, "--validation_split=0.1")


def train(command, *flags):
    return command("train", *FLAGS, *flags)


SOAK = pytest.mark.soak


@pytest.mark.parametrize(
    "at",
    [
        4,
        pytest.param(STEPS, marks=SOAK),
        pytest.param(STEPS + 1, marks=SOAK),
        pytest.param(3 * STEPS, marks=SOAK),
    ],
)
def test_a_stopped_and_resumed_run_ends_in_the_same_bits(at, whole, command, tmp_path):
    done = train(command, f"--stop_after={at}", "--run_dir=a")
    place = {
        4: "in epoch 1 of 3, after batch 4 of 6",
        6: "in epoch 1 of 3, after batch 6 of 6",
        7: "in epoch 2 of 3, after batch 1 of 6",
        18: "in epoch 3 of 3, after batch 6 of 6",
    }[at]
    assert (done.status, done.errors) == (
        75,
        f"train: --stop_after={at}: stopped {place}; resume with: train --resume=a\n",
    )
    assert not (tmp_path / "a" / "summary.json").exists()
    done = command("train", "--resume=a")
    assert (done.status, done.errors) == (0, "")
    assert f"resuming {place}\n" in done.err
    assert results(tmp_path / "a") == results(whole)


@SOAK
def test_a_finished_run_is_resumed_only_with_more_epochs(quick_runs, command):
    folder = quick_runs("--epochs=2")
    done = command("train", f"--resume={folder}")
    assert (done.status, done.err) == (
        2,
        f"train: the run in {folder} is finished, with 2 epochs: give more --epochs to continue "
        "it\n",
    )
    assert command("train", f"--resume={folder}", "--epochs=3").status == 0
    longer = quick_runs("--epochs=3")
    assert results(folder) == results(longer)
    assert (folder / "flags.txt").read_text() == (longer / "flags.txt").read_text()


CONTRADICTIONS = [
    (["--optimizer=adam"], "--optimizer=adam contradicts the run in {}, made with --optimizer=sgd"),
    (["--hidden=9"], "--hidden=9 contradicts the run in {}, made with --hidden=8"),
    (["--clipnorm=1"], r"--clipnorm=1.0 contradicts the run in {}, made with no --clipnorm"),
    (["--run_dir=b"], "--resume continues in the folder of the run: leave --run_dir out"),
]


@pytest.mark.parametrize(("flags", "message"), CONTRADICTIONS)
def test_a_flag_that_contradicts_the_run_is_refused_by_name(flags, message, whole, command):
    done = command("train", f"--resume={whole}", *flags)
    assert done.status == 2
    assert done.err.startswith(f"train: {message.format(whole)}") and done.err.count("\n") == 1


@SOAK
def test_a_flag_of_the_run_may_be_repeated(quick_runs, command):
    folder = quick_runs("--optimizer=sgd")
    flags = ("--optimizer=sgd", "--epochs=2", "--keep_checkpoints=1")
    assert command("train", f"--resume={folder}", *flags).status == 0
    assert len(list((folder / "checkpoints").iterdir())) == 1


def test_epochs_cannot_change_where_a_schedule_is_as_long_as_the_run(quick_runs, command):
    folder = quick_runs("--schedule=cosine_decay")
    done = command("train", f"--resume={folder}", "--epochs=2")
    assert done.status == 2
    assert "--epochs=2 would change the schedule cosine_decay" in done.err


def test_a_folder_without_a_run_is_refused(command, tmp_path):
    done = command("train", "--resume=nowhere")
    assert (done.status, done.err) == (
        2,
        "train: nowhere: not a run, because it has no config.json\n",
    )


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(whole, command, tmp_path):
    train(command, "--checkpoint_steps=4", "--stop_after=9", "--run_dir=a")
    newest = tmp_path / "a" / "checkpoints" / "epoch_0002_batch_000003"
    (newest / "values.index").write_bytes(b"")
    done = command("train", "--resume=a")
    assert done.status == 0
    assert re.search(
        r"^checkpoint epoch_0002_batch_000003 is damaged, renamed to damaged-.*\n", done.err, re.M
    )
    assert "resuming in epoch 2 of 3, after batch 2 of 6" in done.err
    assert results(tmp_path / "a") == results(whole)


def test_a_run_whose_checkpoints_are_damaged_or_gone_keeps_its_history(command, tmp_path):
    train(command, "--stop_after=17", "--keep_checkpoints=1", "--run_dir=a")
    history = (tmp_path / "a" / "metrics.jsonl").read_bytes()
    assert history.count(b"\n") == 2
    for file in (tmp_path / "a" / "checkpoints").glob("*/values.data*"):
        file.write_bytes(b"")
    for _ in range(2):
        done = command("train", "--resume=a")
        assert done.status == 2 and "all checkpoints are damaged" in done.err
    shutil.rmtree(tmp_path / "a" / "checkpoints")
    done = command("train", "--resume=a")
    assert done.status == 2 and "a history of 2 epochs, but its checkpoints are gone" in done.err
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == history


def test_a_run_that_another_process_is_running_is_not_resumed(command, tmp_path):
    train(command, "--stop_after=7", "--run_dir=a")
    before = {path: path.read_bytes() for path in (tmp_path / "a").glob("*.*")}
    with run_folder.locked(tmp_path / "a"):
        done = command("train", "--resume=a")
    assert done.status == 2
    assert done.err == (
        "train: a: another process is running this run; let it end, or stop it, before "
        "you resume it\n"
    )
    assert before == {path: path.read_bytes() for path in (tmp_path / "a").glob("*.*")}


@SOAK
def test_flags_say_which_checkpoints_are_kept(quick, tmp_path):
    flags = ("--epochs=3", "--keep_checkpoints=2", "--checkpoint_best=none")
    assert quick("--run_dir=a", *flags).status == 0
    names = sorted(path.name for path in (tmp_path / "a" / "checkpoints").iterdir())
    assert names == [f"epoch_000{k}_batch_000000" for k in (3, 4)]
    flags = ("--checkpoint_epochs=0", "--checkpoint_seconds=9999", "--checkpoint_best=none")
    assert quick("--run_dir=b", *flags).status == 0
    assert not (tmp_path / "b" / "checkpoints").exists()


CALLBACKS = """
from trainlib.callbacks import Callback, Stop

def ratio(status):
    print(f"ratio {status.results['val_loss'] / status.results['loss']:.4f}")

class StopAtTwo(Callback):
    def on_epoch_end(self, status):
        return Stop("two are enough") if status.epoch == 2 else None

def leave(status):
    raise SystemExit(0)

def wrong(status):
    return "stop"

number = 3
"""


@pytest.fixture
def own_callbacks(tmp_path, monkeypatch):
    (tmp_path / "own_callbacks.py").write_text(CALLBACKS)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_the_users_callbacks_are_called(own_callbacks, command, tmp_path):
    flags = "--callbacks=own_callbacks:ratio,own_callbacks:StopAtTwo"
    done = train(command, flags, "--run_dir=a")
    assert (done.status, done.errors) == (0, "")
    _, lines = results(tmp_path / "a")
    assert len(lines) == 2
    for line in lines:
        assert f"ratio {line['val_loss'] / line['loss']:.4f}\n" in done.out


def test_a_callback_that_ends_the_process_is_an_error_which_names_the_line(own_callbacks, command):
    done = train(command, "--callbacks=own_callbacks:leave", "--run_dir=a")
    assert done.status == 1 and done.errors.count("\n") == 1
    line = CALLBACKS.splitlines().index("    raise SystemExit(0)") + 1
    assert done.errors.startswith(f"train: sys.exit(0) in own_callbacks.py, line {line}, ended the")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:f", "callback nowhere:f: No module named 'nowhere'"),
        ("own_callbacks:f", "callback own_callbacks:f: module 'own_callbacks' has no attribute"),
        ("own_callbacks:number", "callback own_callbacks:number: must be a function, got int"),
        ("own_callbacks", "callback 'own_callbacks': must be written module:function"),
        ("own_callbacks:wrong", "callback wrong must return None or requests such as"),
    ],
)
def test_invalid_callbacks_are_refused(name, message, own_callbacks, command):
    done = train(command, f"--callbacks={name}", "--run_dir=a")
    assert done.status == 2
    assert done.errors.startswith(f"train: {message}") and done.errors.count("\n") == 1
