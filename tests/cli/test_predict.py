"""`predict` writes what the saved model gives, for tables by the names of their columns."""

from __future__ import annotations

import io
import json
import shutil

import keras
import numpy as np
import pytest

from trainlib.data import load_dataset

ROWS = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
PRICES = ROWS @ [3, -2] + 0.25


@pytest.fixture(scope="module")
def run_on_a_table(tmp_path_factory, write_table, quick_runs):
    path = tmp_path_factory.mktemp("data") / "own.csv"
    write_table(path, a=ROWS[:, 0], price=PRICES, b=ROWS[:, 1])
    return quick_runs(f"--dataset={path}", "--target=price", "--train_examples=48")


@pytest.fixture
def table_run(run_on_a_table, tmp_path):
    """`run`, which predicts a number from the columns a and b; its model."""
    shutil.copytree(run_on_a_table, tmp_path / "run")
    return keras.saving.load_model(tmp_path / "run" / "model.keras")


def numbers(text):
    """The header and the rows of a CSV."""
    header, *lines = text.splitlines()
    return header, np.array([[float(cell) for cell in line.split(",")] for line in lines])


def test_classes_and_probabilities_are_those_of_the_test_part(command, run_dir):
    done = command("predict", f"--run_dir={run_dir}")
    assert (done.status, done.err) == (0, "")
    header, rows = numbers(done.out)
    assert header == "class,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9"
    test = load_dataset("digits").test
    model = keras.saving.load_model(run_dir / "model.keras")
    np.testing.assert_allclose(rows[:, 1:], model.predict(test.x, verbose=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(rows[:, 1:].sum(1), 1, atol=1e-5)
    assert (rows[:, 0] == rows[:, 1:].argmax(1)).all()
    accuracy = json.loads((run_dir / "summary.json").read_text())["test"]["accuracy"]
    assert (rows[:, 0] == test.y).mean() == pytest.approx(accuracy)


def test_an_autoencoder_of_a_table_with_classes_predicts_its_columns(
    command, quick, write_table, tmp_path
):
    kinds = np.where(ROWS[:, 0] > 0, "up", "down")
    write_table(tmp_path / "own.csv", a=ROWS[:, 0], b=ROWS[:, 1], kind=kinds)
    flags = ("--dataset=own.csv", "--train_examples=40", "--model=autoencoder", "--run_dir=run")
    assert quick(*flags).status == 0
    header, rows = numbers(command("predict", "--run_dir=run").out)
    assert header == "prediction0,prediction1" and rows.shape == (12, 2)


def test_a_file_gets_what_would_be_printed(command, run_dir, tmp_path):
    printed = command("predict", f"--run_dir={run_dir}")
    file = command("predict", f"--run_dir={run_dir}", "--output=predicted.csv")
    assert file == (0, "", "")
    assert (tmp_path / "predicted.csv").read_text() == printed.out
    assert [path.name for path in tmp_path.iterdir()] == ["predicted.csv"]


def test_a_file_is_replaced_only_if_that_is_asked_for(command, run_dir, tmp_path):
    file = tmp_path / "predicted.csv"
    file.write_text("mine")
    flags = (f"--run_dir={run_dir}", "--output=predicted.csv")
    done = command("predict", *flags)
    assert done.status == 2 and "give --overwrite" in done.err
    assert file.read_text() == "mine"
    assert command("predict", *flags, "--overwrite") == (0, "", "")
    assert file.read_text().startswith("class,p0,")
    done = command("predict", f"--run_dir={run_dir}", "--output=.", "--overwrite")
    assert done.status == 2 and "exists already; choose another\n" in done.err


@pytest.fixture
def standard_input(monkeypatch):
    """`standard_input(content)`: these bytes are read from it."""
    return lambda content: monkeypatch.setattr(
        "sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
    )


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_a_table_on_standard_input_is_predicted(delimiter, table_run, command, standard_input):
    rows = [["b", "a"], *([f"{b:.9g}", f"{a:.9g}"] for a, b in ROWS[:7])]
    standard_input("".join(delimiter.join(row) + "\n" for row in rows).encode())
    done = command("predict", "--run_dir=run", "--data=-")
    assert (done.status, done.err) == (0, "")
    expected = table_run.predict(ROWS[:7], verbose=0)
    np.testing.assert_allclose(numbers(done.out)[1], expected, rtol=1e-4, atol=1e-5)


def test_a_table_on_standard_input_may_begin_with_the_letters_of_an_archive(
    table_run, command, standard_input
):
    table = "PK,b,a\n" + "".join(f"7,{b:.9g},{a:.9g}\n" for a, b in ROWS[:7])
    standard_input(table.encode())
    done = command("predict", "--run_dir=run", "--data=-")
    ignored = "predict: columns ignored, which the model does not take: PK\n"
    assert (done.status, done.err) == (0, ignored)
    expected = table_run.predict(ROWS[:7], verbose=0)
    np.testing.assert_allclose(numbers(done.out)[1], expected, rtol=1e-4, atol=1e-5)


def test_arrays_on_standard_input_are_predicted(command, run_dir, standard_input):
    x, file = load_dataset("digits").test.x[:5], io.BytesIO()
    np.savez(file, x=x)
    standard_input(file.getvalue())
    _, rows = numbers(command("predict", f"--run_dir={run_dir}", "--data=-").out)
    _, of_all = numbers(command("predict", f"--run_dir={run_dir}").out)
    np.testing.assert_allclose(rows, of_all[:5], rtol=1e-4, atol=1e-6)


def test_an_empty_standard_input_is_one_line(command, run_dir, standard_input):
    standard_input(b"")
    done = command("predict", f"--run_dir={run_dir}", "--data=-")
    assert done == (2, "", "predict: --data -: standard input is empty\n")


def test_images_in_a_file_are_predicted(command, run_dir, tmp_path):
    x = load_dataset("digits").test.x
    np.savez(tmp_path / "new.npz", x=x[:5])
    header, rows = numbers(command("predict", f"--run_dir={run_dir}", "--data=new.npz").out)
    _, of_all = numbers(command("predict", f"--run_dir={run_dir}").out)
    np.testing.assert_allclose(rows, of_all[:5], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "columns", [("a", "b"), ("b", "a"), ("b", "price", "a"), ("more", "b", "a")]
)
def test_tables_are_read_by_the_names_of_their_columns(
    columns, table_run, command, tmp_path, write_table
):
    known = {"a": ROWS[:, 0], "b": ROWS[:, 1], "price": PRICES, "more": PRICES * 9}
    write_table(tmp_path / "new.csv", **{name: known[name] for name in columns})
    done = command("predict", "--run_dir=run", "--data=new.csv")
    header, rows = numbers(done.out)
    assert header == "prediction"
    np.testing.assert_allclose(rows, table_run.predict(ROWS, verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--run_dir must be given"),
        (("--run_dir=none",), "predict: none: not a run, because it has no config.json"),
        (("--run_dir=run", "--data=less.csv"), "less.csv has no column 'b'; the model takes a, b"),
        (("--run_dir=run", "--data=text.csv"), "text.csv, line 2, column 'b': 'x' is not a number"),
        (("--run_dir=run", "--data=none.csv"), "none.csv does not exist"),
        (("--run_dir=run", "--data=wide.npz"), "of shape (2,); those of wide.npz have shape (3,)"),
        (("--run_dir=run", "--data=nan.npz"), "nan.npz, x has 2 values that are NaN or infinite"),
        (("--run_dir=run", "--data=new.txt"), "new.txt does not end in .npz, .csv, .csv.gz"),
        (("--run_dir=run", "--output=less.csv"), "output less.csv: exists already; choose another"),
        (("--run_dir=run", "--output=none/a.csv"), "output none/a.csv: there is no folder none"),
    ],
)
def test_bad_input_gets_one_line_and_changes_nothing(
    arguments, message, table_run, command, tmp_path, write_table
):
    if "--data=text.csv" in arguments:
        pytest.importorskip("pandas")
    write_table(tmp_path / "less.csv", a=[1.0])
    write_table(tmp_path / "text.csv", a=[1.0], b=["x"])
    np.savez(tmp_path / "wide.npz", x=np.ones((4, 3)))
    np.savez(tmp_path / "nan.npz", x=np.full((1, 2), np.nan))
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    done = command("predict", *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("predict: ") and done.err.count("\n") == 1
    assert message in done.err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.fixture(scope="module")
def run_with_dropout(quick_runs):
    return quick_runs("--dropout=0.5", "--train_examples=200")


def test_samples_with_dropout_give_columns_of_the_uncertainty(command, run_with_dropout):
    arguments = (f"--run_dir={run_with_dropout}", "--mc_samples=4")
    done = command("predict", *arguments)
    assert (done.status, done.err) == (0, "")
    header, rows = numbers(done.out)
    assert header.split(",")[1:12:10] == ["p0", "std0"]
    assert header.endswith(",std9,entropy,mutual_information")
    p, std, entropy, information = rows[:, 1:11], rows[:, 11:21], rows[:, 21], rows[:, 22]
    assert (rows[:, 0] == p.argmax(1)).all() and (std > 0).any()
    np.testing.assert_allclose(entropy, -(p * np.log(p)).sum(1), rtol=1e-4, atol=1e-6)
    assert (information >= 0).all() and (information <= entropy).all()
    assert command("predict", *arguments) == done
    fixed = command("predict", *arguments, "--mc_masks=fixed", "--seed=1")
    assert (fixed.status, fixed.out == done.out) == (0, False)


@pytest.mark.soak
def test_samples_of_numbers_have_a_deviation(command, quick_runs, run_on_a_table):
    done = command("predict", f"--run_dir={run_on_a_table}", "--mc_samples=4")
    assert (done.status, done.out) == (2, "")
    assert "has no dropout" in done.err
    lines = (run_on_a_table / "flags.txt").read_text().splitlines()
    data = next(line for line in lines if line.startswith("--dataset"))
    run = quick_runs(data, "--target=price", "--train_examples=48", "--dropout=0.5")
    header, rows = numbers(command("predict", f"--run_dir={run}", "--mc_samples=4").out)
    assert header == "prediction,std" and (rows[:, 1] > 0).any()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--mc_samples=1",), "--mc_samples must be at least 2, got 1"),
        (("--mc_masks=fixed",), "--mc_masks needs --mc_samples"),
        (("--seed=3",), "--seed needs --mc_samples"),
    ],
)
def test_flags_of_samples_that_have_no_effect_are_refused(flags, message, command, run_dir):
    done = command("predict", f"--run_dir={run_dir}", *flags)
    assert (done.status, done.out) == (2, "") and message in done.err
