"""`compare` at a shell: contenders by flags or flag files, resuming, errors."""

from __future__ import annotations

import pytest
from helpers.commands import run_command

from trainlib.experiment.comparison import running
from trainlib.tools.comparison import SeedRun

SMALL = ("--train_examples=64", "--hidden=8", "--epochs=1", "--noreport")


@pytest.fixture
def made(monkeypatch):
    """The (optimizer, seed) of each run, whose loss is computed instead of trained.

    The other list holds the number of the run that is interrupted.
    """
    runs, interrupted = [], []

    def run_one(worker, config):
        runs.append((config.optimizer.name, config.seed))
        if len(runs) in interrupted:
            raise KeyboardInterrupt
        loss = 1.0 * len(config.optimizer.name) + 0.1 * config.seed
        return SeedRun(config.seed, [{"epoch": 1, "loss": loss}], {"loss": loss}, {"loss": loss})

    monkeypatch.setattr(running, "run_one", run_one)
    return runs, interrupted


def test_contenders_are_printed_by_rank_with_a_line_for_each_run(made, tmp_path):
    result = run_command(
        tmp_path, "compare", "--vary=optimizer={adam,sgd}", "--seeds=2", "--run_dir=r", *SMALL
    )
    assert result.status == 0, result.err
    lines = result.err.splitlines()
    assert lines[0] == "1/4  adam  seed 0  val_loss 4  best adam 4"
    assert lines[1] == "2/4  sgd  seed 0  val_loss 3  best sgd 3"
    assert result.out.splitlines() == [
        "1  sgd   val_loss 3.05 ± 0.071",
        "2  adam  val_loss 4.05 ± 0.071",
        "run folder: r",
    ]


def test_vary_may_be_given_several_times(made, tmp_path):
    vary = ("--vary=optimizer={adam,sgd}", "--vary=hidden={4,8}")
    flags = ("--seeds=1", "--run_dir=r", "--train_examples=64", "--noreport")
    assert run_command(tmp_path, "compare", *vary, *flags).status == 0
    assert len(made[0]) == 4


def test_flag_files_and_folders_of_runs_are_contenders_with_the_given_flags(made, tmp_path):
    (tmp_path / "a.txt").write_text("--optimizer=sgd\n--epochs=3\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "flags.txt").write_text("--optimizer=nadam\n")
    result = run_command(
        tmp_path, "compare", "--flagfiles=a.txt,b", "--seeds=1", "--run_dir=r", *SMALL
    )
    assert result.status == 0, result.err
    assert made[0] == [("sgd", 0), ("nadam", 0)]
    assert "--epochs=1" in (tmp_path / "r" / "flags" / "a.txt").read_text()


def test_an_interrupted_comparison_says_how_to_resume(made, tmp_path):
    runs, interrupted = made
    interrupted.append(2)
    flags = ("--vary=optimizer={adam,sgd}", "--seeds=2", "--run_dir=r", *SMALL)
    result = run_command(tmp_path, "compare", *flags)
    assert result.status == 130
    assert result.errors == (
        "compare: interrupted after 1 of 4 runs; resume with: compare --resume=r\n"
    )
    result = run_command(tmp_path, "compare", "--resume=r", "--seeds=3")
    assert result.status == 0, result.err
    assert len(runs) == 7 and "6/6" in result.err


def test_what_was_compared_cannot_change_in_a_resumed_comparison(made, tmp_path):
    flags = ("--vary=optimizer={adam,sgd}", "--seeds=1", "--run_dir=r", *SMALL)
    assert run_command(tmp_path, "compare", *flags).status == 0
    result = run_command(tmp_path, "compare", "--resume=r", "--epochs=5")
    assert result.status == 2 and "--epochs cannot change" in result.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give --vary"),
        (("--vary=optimizer={sgd,adam}", "--flagfiles=a,b"), "one of both"),
        (("--vary=optimizer={sgd,adm}",), "adm"),
        (("--vary=optimizer={sgd,adam}", "--seeds=0"), "seeds must be at least 1"),
        (("--vary=optimizer={sgd,adam}", "--validation_split=0"), "validation"),
        (("--flagfiles=none.txt,b.txt",), "none.txt"),
        (("--resume=none",), "none: not a comparison"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(flags, message, tmp_path):
    result = run_command(tmp_path, "compare", *flags)
    assert result.status == 2 and message in result.err and result.err.count("\n") == 1
    assert not any(tmp_path.iterdir())
