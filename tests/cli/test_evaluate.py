"""`evaluate` gives the numbers that `train` gave, in whatever form the same data come."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

ROWS = np.random.default_rng(0).normal(size=(60, 2))
KINDS = (ROWS.sum(1) > 0).astype(int)


@pytest.fixture(scope="module")
def run_on_a_table(tmp_path_factory, write_table, quick_runs):
    path = tmp_path_factory.mktemp("data") / "own.csv"
    write_table(path, a=ROWS[:, 0], kind=KINDS, b=ROWS[:, 1])
    return quick_runs(f"--dataset={path}", "--target=kind", "--train_examples=48")


@pytest.fixture
def table_run(run_on_a_table, tmp_path):
    """`run` on a table whose target is not its last column; its summary."""
    shutil.copytree(run_on_a_table, tmp_path / "run")
    return json.loads((tmp_path / "run" / "summary.json").read_text())


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_each_part_has_the_results_of_the_summary(part, command, run_dir):
    done = command("evaluate", f"--run_dir={run_dir}", f"--part={part}")
    assert (done.status, done.err) == (0, "")
    assert done.out.count("\n") == 1
    assert json.loads(done.out) == json.loads((run_dir / "summary.json").read_text())[part]


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(
            ("--loss=binary_crossentropy", "--label_smoothing=0.1"), marks=pytest.mark.soak
        ),
        ("--loss=huber", "--delta=2", "--regularizer=l2", "--l2=0.1"),
        ("--precision=mixed_float16", "--execution=graph"),
    ],
)
def test_the_loss_is_that_of_the_run(flags, quick, command, tmp_path):
    assert quick("--run_dir=run", *flags).status == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert json.loads(command("evaluate", "--run_dir=run").out) == summary["test"]


def of_all_rows(summary):
    """The results over all 60 rows, of which a fifth is the test part."""
    parts = [summary["train"], summary["test"]]
    return {name: pytest.approx(0.8 * parts[0][name] + 0.2 * parts[1][name]) for name in parts[0]}


def test_tables_are_read_whole_by_the_names_of_their_columns(
    table_run, command, tmp_path, write_table
):
    columns = {"kind": KINDS, "more": KINDS * 9, "b": ROWS[:, 1], "a": ROWS[:, 0]}
    write_table(tmp_path / "other.csv", **columns)
    done = command("evaluate", "--run_dir=run", "--dataset=other.csv")
    assert json.loads(done.out) == of_all_rows(table_run)
    assert done.err == "evaluate: columns ignored, which the model does not take: more\n"


def test_a_table_need_not_have_every_class(table_run, command, tmp_path, write_table):
    one = KINDS == 1
    write_table(tmp_path / "one.csv", kind=KINDS[one], b=ROWS[one, 1], a=ROWS[one, 0])
    write_table(tmp_path / "zero.csv", kind=KINDS[~one], b=ROWS[~one, 1], a=ROWS[~one, 0])
    parts = [
        json.loads(command("evaluate", "--run_dir=run", f"--dataset={name}.csv").out)
        for name in ("one", "zero")
    ]
    weights = [one.mean(), 1 - one.mean()]
    found = {n: weights[0] * parts[0][n] + weights[1] * parts[1][n] for n in parts[0]}
    assert found == of_all_rows(table_run)


def test_archives_without_parts_are_read_whole(table_run, command, tmp_path):
    np.savez(tmp_path / "other.npz", x=ROWS, y=KINDS)
    done = command("evaluate", "--run_dir=run", "--dataset=other.npz")
    assert json.loads(done.out) == of_all_rows(table_run)


def test_archives_with_parts_are_read_by_part(table_run, command, tmp_path):
    x, y = ROWS.astype(np.float32), KINDS
    np.savez(tmp_path / "other.npz", x_train=x[:48], y_train=y[:48], x_test=x, y_test=y)
    done = command("evaluate", "--run_dir=run", "--dataset=other.npz", "--part=test")
    assert json.loads(done.out) == of_all_rows(table_run)


def test_data_that_were_moved_are_found_in_another_folder(quick, command, tmp_path, data_dir):
    flags = ("--dataset=california_housing", f"--data_dir={tmp_path / 'old'}")
    shutil.copytree(data_dir, tmp_path / "old", ignore=shutil.ignore_patterns("*mnist*"))
    assert quick("--run_dir=run", *flags).status == 0
    (tmp_path / "old").rename(tmp_path / "new")
    done = command("evaluate", "--run_dir=run", "--data_dir=new")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert json.loads(done.out) == summary["test"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--run_dir must be given"),
        (("--run_dir=none",), "evaluate: none: not a run, because it has no config.json"),
        (("--run_dir=run", "--part=all"), "flag --part=all: choose from train, "),
        (("--run_dir=run", "--part=validation"), "part validation: the run kept no examples"),
        (("--run_dir=run", "--dataset=digits"), "digits has the class 9, but the model knows the"),
        (("--run_dir=run", "--dataset=less.csv", "--part=test"), "part test: all examples of less"),
        (
            ("--run_dir=run", "--dataset=new.csv"),
            "new.csv, line 3, column 'kind': the class '2'",
        ),
        (
            ("--run_dir=run", "--dataset=bare.csv"),
            "target is 'kind', but bare.csv has no such",
        ),
        (("--run_dir=run", "--dataset=less.csv"), "less.csv has no column 'a'; the model takes a,"),
        (
            ("--run_dir=run", "--dataset=more.npz"),
            "more.npz, y has the label 2 at index 2, but",
        ),
        (("--run_dir=run", "--dataset=digit"), "unknown data set 'digit' (did you mean 'digits'?)"),
        (("--run_dir=run", "--optimizer=sgd"), "unknown flag --optimizer"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(
    arguments, message, table_run, command, tmp_path, write_table
):
    write_table(tmp_path / "less.csv", kind=KINDS, b=ROWS[:, 1])
    write_table(tmp_path / "new.csv", kind=[1, 2], a=[0, 0], b=[0, 0])
    write_table(tmp_path / "bare.csv", a=[0, 0], b=[0, 0])
    np.savez(tmp_path / "more.npz", x=ROWS, y=np.arange(60) % 3)
    done = command("evaluate", *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("evaluate: ") and done.err.count("\n") == 1
    assert message in done.err


@pytest.mark.parametrize("name", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "broken: not a run, because it has no config.json"),
        ("config.json", b'{"no": 1}', "config.json: unknown setting of configuration 'no'"),
        ("summary.json", None, "broken: the run is not finished, because it has no summary.json"),
        ("summary.json", b"{", "summary.json: Expecting property name"),
        ("model.keras", None, "model.keras: there is no such file"),
        ("model.keras", b"no model", "model.keras: not a Keras model that can be loaded: it is no"),
    ],
)
def test_a_broken_run_is_named(name, file, content, message, command, run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "broken")
    (tmp_path / "broken" / file).unlink()
    if content is not None:
        (tmp_path / "broken" / file).write_bytes(content)
    done = command(name, "--run_dir=broken")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"{name}: ") and done.err.count("\n") == 1
    assert message in done.err
