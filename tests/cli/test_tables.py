"""Tables as they are, from `train` to `evaluate`, `predict`, `report` and a resumed run."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil

import keras
import numpy as np
import pytest

from trainlib.data.preprocessing import TablePreprocessing

pytest.importorskip("pandas")

CLASSES = ("cat", "dog, big", "owl")
COLUMNS = ("age", "colour", "born", "id", "kind")


def row(k):
    """A row of the table; every class has its colour, and every seventh age is missing."""
    kind = CLASSES[k * 7 % 3]
    colour = {"cat": "red", "dog, big": "", "owl": "green"}[kind]
    return [
        "" if k % 7 == 0 else 20 + k % 50,
        colour,
        f"2024-0{1 + k % 9}-1{k % 10}",
        f"i{k}",
        kind,
    ]


def write(path, rows, columns=COLUMNS, delimiter=";"):
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        file = csv.DictWriter(stream, columns, delimiter=delimiter, extrasaction="ignore")
        file.writeheader()
        file.writerows({**dict(zip(COLUMNS, cells, strict=True)), "more": 1} for cells in rows)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, quick_runs):
    """The folder of a run on the table, whose file is beside the folder."""
    path = tmp_path_factory.mktemp("data") / "kinds.csv"
    write(path, map(row, range(150)))
    flags = ("--train_examples=120", "--epochs=20", "--validation_split=0.1")
    return quick_runs(f"--dataset={path}", *flags)


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def rules(run):
    """The rules in its folder."""
    return TablePreprocessing.from_json((run / "preprocessing.json").read_text())


def predicted(done):
    """The header and the rows that `predict` printed."""
    header, *rows = csv.reader(io.StringIO(done.out))
    return header, [cells[0] for cells in rows], np.array([cells[1:] for cells in rows], float)


def test_the_run_has_the_rules_and_a_model_of_numbers(run, rules):
    assert (rules.target, rules.classes) == ("kind", CLASSES)
    colours = ("colour=green", "colour=red", "colour=(empty)")
    assert rules.inputs[:5] == ("age", "age=(empty)", *colours)
    assert rules.left_out == {"id": "different in every row"}
    model = keras.saving.load_model(run / "model.keras")
    assert model.input_shape == (None, len(rules.inputs))
    scale = model.get_layer("standardize")
    indicators = ~np.array(rules.scaled)
    assert (np.ravel(scale.mean)[indicators] == 0).all()
    assert (np.ravel(scale.variance)[indicators] == 1).all()
    assert json.loads((run / "summary.json").read_text())["test"]["accuracy"] == 1


def test_predictions_have_the_names_of_the_classes(run, command, tmp_path):
    new = [row(k) for k in range(200, 230)]
    write(tmp_path / "new.csv", new, ["colour", "more", "born", "age"], "\t")
    done = command("predict", "--run_dir=run", "--data=new.csv")
    assert done.err == "predict: columns ignored, which the model does not take: more\n"
    header, names, scores = predicted(done)
    assert header == ["class", *(f"p_{name}" for name in CLASSES)]
    assert names == [cells[-1] for cells in new]
    assert [CLASSES[k] for k in scores.argmax(1)] == names


def test_rows_do_not_depend_on_their_table(run, command, tmp_path):
    rows = [row(k) for k in range(200, 230)]
    write(tmp_path / "all.csv", rows)
    write(tmp_path / "one.csv", rows[:1])
    _, _, scores = predicted(command("predict", "--run_dir=run", "--data=all.csv"))
    _, _, alone = predicted(command("predict", "--run_dir=run", "--data=one.csv"))
    np.testing.assert_allclose(alone, scores[:1], rtol=1e-5, atol=1e-7)


def test_a_table_is_evaluated_whole_and_need_not_have_every_class(run, command, tmp_path):
    owls = [row(k) for k in range(200, 260) if row(k)[-1] == "owl"]
    write(tmp_path / "owls.csv", owls, ["kind", "colour", "born", "age"])
    done = command("evaluate", "--run_dir=run", "--dataset=owls.csv")
    assert json.loads(done.out)["accuracy"] == 1
    _, _, scores = predicted(command("predict", "--run_dir=run", "--data=owls.csv"))
    expected = -np.log(scores[:, 2]).mean()
    assert json.loads(done.out)["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("cells", "columns", "message"),
    [
        (row(1)[:-1] + ["fox"], COLUMNS, "new.csv, line 3, column 'kind': the class 'fox' is not"),
        (["old", *row(1)[1:]], COLUMNS, "new.csv, line 3, column 'age': 'old' is not a number"),
        ([1, "red", "soon", "", "cat"], COLUMNS, "column 'born': 'soon' is not a date of the"),
        (
            row(1),
            ("age", "born", "kind"),
            "new.csv has no column 'colour'; the model takes age",
        ),
        (row(1), COLUMNS[:-1], "target is 'kind', but new.csv has no such column"),
    ],
)
def test_a_table_that_is_unlike_that_of_the_run_is_refused(
    cells, columns, message, run, command, tmp_path
):
    write(tmp_path / "new.csv", [row(0), cells], columns)
    done = command("evaluate", "--run_dir=run", "--dataset=new.csv")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("evaluate: ") and done.err.count("\n") == 1
    assert message in done.err


def test_what_is_new_is_reported(run, command, tmp_path):
    write(tmp_path / "new.csv", [[30, "blue", "", "", ""]])
    done = command("predict", "--run_dir=run", "--data=new.csv")
    assert done.status == 0
    assert done.err.splitlines() == [
        "predict: column 'colour': 1 cells hold categories that are new: blue",
        "predict: column 'born': 1 empty cells, training had none: the median takes their place",
    ]


def test_a_run_is_resumed_with_its_rules(run, rules, quick, tmp_path):
    changed = TablePreprocessing(rules.columns, rules.target, rules.classes, {"id": "by hand"})
    (run / "preprocessing.json").write_text(changed.to_json())
    done = quick("--resume=run", "--train_examples=120", "--validation_split=0.1", "--epochs=21")
    assert (done.status, done.errors) == (0, "")
    assert "columns left out: id (by hand)" in done.err
    assert TablePreprocessing.from_json((run / "preprocessing.json").read_text()) == changed


@pytest.mark.soak
def test_a_model_of_a_run_is_trained_on_with_its_rules(run, rules, quick, command, tmp_path):
    other = [[k, "blue" if k % 2 else "red", "2020-01-01", "", CLASSES[k % 2]] for k in range(100)]
    write(tmp_path / "other.csv", other)
    arguments = ("--dataset=other.csv", "--model=run/model.keras", "--run_dir=next")
    done = quick(*arguments, "--learning_rate=0.001")
    assert done.status == 2 and "--hidden" in done.err  # the flag of another model
    shutil.move(run / "model.keras", tmp_path / "moved.keras")
    arguments = ("--dataset=other.csv", "--model=moved.keras", "--run_dir=next")
    done = command("train", "--epochs=1", "--execution=graph", "--noreport", *arguments)
    assert (done.status, done.errors) == (0, "")
    assert "50 cells hold categories that are new: blue" in done.err
    written = TablePreprocessing.from_json((tmp_path / "next" / "preprocessing.json").read_text())
    assert written == rules


@pytest.mark.soak
def test_the_report_names_the_classes(run, command, tmp_path):
    pytest.importorskip("matplotlib")
    assert command("report", "run").status == 0
    page = (run / "report.html").read_text()
    assert all(name in page for name in (*CLASSES, "colour=red"))


def test_what_integers_were_taken_for_is_printed(quick, tmp_path):
    rows = "".join(f"{k % 5},{20 + k % 40}\n" for k in range(90))
    (tmp_path / "ages.csv").write_text("a,age\n" + rows)
    done = quick("--dataset=ages.csv", "--run_dir=a")
    line = "task (guessed): regression, because 'age' holds 40 different integers; --task decides"
    assert line in done.err and done.out.startswith("test (regression, guessed): loss ")
    given = quick("--dataset=ages.csv", "--run_dir=b", "--loss=poisson")
    assert "guessed" not in given.out + given.err
    done = quick("--dataset=ages.csv", "--run_dir=c", "--task=classification")
    assert "ages.csv: 40 classes: 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, ...\n" in done.err


@pytest.mark.soak
def test_a_run_is_read_from_another_working_directory(quick, command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    write(tmp_path / "home" / "kinds.csv", map(row, range(150)))
    done = quick("--dataset=~/kinds.csv", "--run_dir=~/mine")
    assert (done.status, done.out.splitlines()[-1]) == (0, "run folder: home/mine")
    (tmp_path / "elsewhere").mkdir()
    done = command.func(tmp_path / "elsewhere", "evaluate", "--run_dir=../home/mine")
    assert done.status == 0
    recorded = json.loads((tmp_path / "home" / "mine" / "config.json").read_text())["dataset"]
    assert recorded == str(tmp_path / "home" / "kinds.csv")
    flags = (tmp_path / "home" / "mine" / "flags.txt").read_text().splitlines()
    (tmp_path / "flags.txt").write_text("--dataset=~/none.csv\n" + "\n".join(flags[1:]))
    done = quick("--flagfile=~/../flags.txt")
    assert done.err == "train: home/none.csv does not exist; check the path\n"


@pytest.mark.parametrize(
    "name", ["two\nlines", pytest.param("\x1b[31mred", marks=pytest.mark.soak)]
)
def test_names_that_a_terminal_cannot_show_are_escaped(name, quick, command, tmp_path):
    done = quick(f"--run_dir={name}", "--train_examples=16")
    shown = repr(name)[1:-1]
    assert (done.status, done.out.splitlines()[-1]) == (0, f"run folder: {shown}")
    assert json.loads(command("evaluate", f"--run_dir={name}").out)["loss"] > 0
    done = command("evaluate", f"--run_dir={name}-")
    assert done.err == f"evaluate: {shown}-: not a run, because it has no config.json\n"


def test_a_folder_without_a_name_in_utf8_is_refused(quick, tmp_path):
    done = quick(f"--run_dir={os.fsdecode(bytes([255]))}", "--train_examples=16")
    expected = "train: --run_dir \\udcff: is no name in UTF-8; choose another\n"
    assert (done.status, done.out, done.err) == (2, "", expected)
    assert list(tmp_path.iterdir()) == []
