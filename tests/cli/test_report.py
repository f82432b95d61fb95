"""`report`: the page of a run or of several, finished or not, and runs that cannot be shown."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from helpers.experiments import RUN_FILES
from helpers.modules import hide_package

import trainlib.experiment.run as run_module

PICTURES = {
    "accuracy.png",
    "confusion_matrix.png",
    "precision_recall.png",
    "loss.png",
    "loss_ratio.png",
    "reliability.png",
}


@pytest.fixture(autouse=True)
def matplotlib():
    pytest.importorskip("matplotlib")


@pytest.fixture
def run(run_dir, tmp_path):
    """A finished run on digits, in the folder `run` of the working directory."""
    shutil.copytree(run_dir, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "run"


@pytest.fixture
def reported(command, tmp_path):
    """`reported("run")`: the page that the command writes."""

    def report(*arguments, at="run"):
        done = command("report", *arguments)
        assert (done.status, done.out, done.err) == (0, f"report: {at}/report.html\n", "")
        return (tmp_path / at / "report.html").read_text(encoding="utf-8")

    return report


@pytest.fixture
def without_matplotlib(monkeypatch):
    """As if matplotlib were not installed."""
    hide_package(monkeypatch, "matplotlib")


def refused(done, message):
    return (done.status, done.out, done.err) == (2, "", f"report: {message}\n")


def test_a_finished_run_gets_a_page_and_pictures(run, reported):
    before = {path.name for path in run.iterdir()}
    text = reported("run")
    assert {path.name for path in run.iterdir()} == before | PICTURES | {"report.html"}
    for name in PICTURES:
        assert (run / name).read_bytes().startswith(b"\x89PNG")
    summary = json.loads((run / "summary.json").read_text())
    for part in ("train", "validation", "test"):
        (row,) = re.findall(rf"<td>{part}</td>(.*)</tr>", text)
        cells = [float(x) for x in re.findall(">([0-9.]+)</td>", row)]
        assert cells == pytest.approx(list(summary[part].values()), rel=1e-2)
    assert "<dd>1,294 training, 144 validation, 359 test</dd>" in text
    assert "<dd>mlp, 50,610 parameters</dd>" in text
    assert "not finished" not in text
    assert summary["date"].replace("T", " ")[:16] in text
    for name in ("trainlib", "TensorFlow", "Keras", "NumPy", "Python"):
        assert f"{name} {summary['versions'][name]}" in text
    assert text.count("<svg ") == len(PICTURES)
    assert "<details>" in text and "<code>--optimizer=adam</code>" in text


def test_a_page_can_be_written_into_another_folder(run, reported, tmp_path):
    (run / "summary.json").unlink()
    before = {path.name for path in run.iterdir()}
    reported("run", "--out=a/b", at="a/b")
    assert {path.name for path in run.iterdir()} == before
    # Of a run that is not finished.
    pictures = {"accuracy.png", "loss.png", "loss_ratio.png"}
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == pictures | {"report.html"}


def test_the_report_of_an_unfinished_run_says_that_it_is_not_finished(run, reported):
    (run / "summary.json").unlink()
    (run / "model.keras").unlink()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')  # being written
    text = reported("run")
    assert "This run is not finished." in text
    assert "<dt>epochs</dt><dd>2</dd>" in text
    assert (run / "loss.png").is_file() and not (run / "confusion_matrix.png").exists()
    (run / "config.json").unlink()
    assert "<dt>epochs</dt><dd>2</dd>" in reported("run")


def test_a_history_may_hold_numbers_that_are_not_finite(run, reported):
    (run / "summary.json").unlink()
    (run / "metrics.jsonl").write_text(
        '{"epoch": 1, "loss": NaN, "val_loss": Infinity, "auc": null, "overflowed": "a/<b>"}\n'
        '{"epoch": 2, "loss": 1, "gradient_norm": 2.0, "confusion_matrix": [[1, 0], [0, 1]]}\n'
    )
    assert reported("run").count("<svg ") == 2
    assert {path.name for path in run.glob("*.png")} == {"loss.png", "norms.png"}


def test_names_that_users_chose_are_escaped(quick_runs, tmp_path, write_table, reported):
    rows = np.random.default_rng(0).normal(size=(60, 2))
    write_table(tmp_path / "<i>own.csv", **{"<u>": rows[:, 0], "$x^": rows[:, 1], "y": rows.sum(1)})
    made = quick_runs(f"--dataset={tmp_path}/<i>own.csv", "--train_examples=40", "--batch_size=20")
    shutil.copytree(made, tmp_path / "<b>&")
    text = reported("<b>&", at="<b>&")
    for markup in ("<b>&", "<i>own", "<u>"):
        assert markup not in text
    assert 'class="number">&lt;u&gt;</th>' in text
    assert "<h1>&lt;b&gt;&amp;</h1>" in text and "&lt;i&gt;own.csv" in text
    assert '<th scope="col" class="number">$x^</th>' in text
    names = {path.name for path in (tmp_path / "<b>&").glob("*.png")}
    assert {"residuals.png", "residual_histogram.png", "mean_absolute_error.png"} <= names


SOAK = pytest.mark.soak


@pytest.mark.parametrize(
    "flags",
    [
        ("--loss=binary_crossentropy", "--metrics=auc,confusion_matrix"),
        pytest.param(("--loss=categorical_hinge",), marks=SOAK),
        pytest.param(("--schedule=cosine_decay", "--gradient_accumulation_steps=2"), marks=SOAK),
        pytest.param(
            ("--reduce_on_plateau", "--validation_split=0.2", "--precision=mixed_float16"),
            marks=SOAK,
        ),
        pytest.param(("--learning_rate=1e30", "--optimizer=sgd", "--nonfinite=none"), marks=SOAK),
    ],
)
def test_every_kind_of_run_has_a_report(flags, quick, tmp_path):
    done = quick("--run_dir=run", "--report", *flags)
    assert (done.status, done.errors) == (0, "")
    assert done.out.endswith("run folder: run\n")
    assert (tmp_path / "run" / "confusion_matrix.png").is_file()
    text = (tmp_path / "run" / "report.html").read_text()
    assert "score" in text if "hinge" in flags[0] else "confidence" in text


@SOAK
def test_the_range_test_is_shown(quick, tmp_path):
    done = quick("--run_dir=run", "--report", "--learning_rate=auto")
    assert done.status == 0 and "no report" not in done.out
    text = (tmp_path / "run" / "report.html").read_text()
    assert "<h2>Range test</h2>" in text
    (rate,) = re.findall(r"--learning_rate=(\S+)", (tmp_path / "run" / "flags.txt").read_text())
    assert f">learning rate: {float(rate):.2g}</text>" in text


def test_runs_are_compared(run, quick_runs, reported, tmp_path):
    other = quick_runs("--optimizer=nadam")
    (tmp_path / "b").mkdir()
    shutil.copytree(other, tmp_path / "b" / "nadam")
    text = reported("run", "b/nadam", at="report")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "accuracy.png",
        "loss.png",
        "report.html",
    }
    assert '<td>optimizer</td><td class="long">adam</td><td class="long">nadam</td>' in text
    assert "<td>seed</td>" not in text
    best = json.loads((run / "summary.json").read_text())["test"]
    strong = re.findall('<td class="number"><strong>([0-9.]+)</strong></td>', text)
    for name in ("loss", "accuracy"):
        assert any(float(x) == pytest.approx(best[name], rel=1e-2) for x in strong)


def test_runs_of_the_same_name_are_named_by_path(run, reported, tmp_path):
    shutil.copytree(run, tmp_path / "b" / "run")
    (tmp_path / "b" / "run" / "summary.json").unlink()
    text = reported("--out=both", "run", "b/run", at="both")
    assert "Not finished: b/run." in text
    assert "<td>run</td>" in text and "<td>b/run</td>" in text
    assert "<h2>Flags that differ</h2>" in text and "None." in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a run's folder, or several"),
        (("nowhere",), "nowhere: not a run of train, because it has no metrics.jsonl"),
        (("run", "./run"), "run run is given twice"),
        (
            ("run", "nowhere"),
            "nowhere: not a run of train, because it has no metrics.jsonl",
        ),
        (("run", "--uot=a"), "unknown flag --uot: did you mean --out?"),
        (("run", "--out=file"), "file: File exists"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments, message, run, command, tmp_path):
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    assert refused(command("report", *arguments), message)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.jsonl", "", "run: no epoch of the run is complete yet"),
        ("metrics.jsonl", "[]\n", "run/metrics.jsonl: a line has no epoch"),
        ("metrics.jsonl", "loss\n", "run/metrics.jsonl: Expecting value"),
        ("metrics.jsonl", "1\n", "run/metrics.jsonl: 'int' object is not iterable"),
        ("summary.json", "{}", "run/summary.json: lacks "),
        ("config.json", '{"no": 1}', "run/config.json: unknown setting of configuration 'no'"),
        ("model.keras", "x", "model run/model.keras: not a Keras model that can be loaded"),
        ("lr_find.csv", "a\n1\n", "run/lr_find.csv: not the curve of a range test"),
    ],
)
def test_a_damaged_run_gets_one_line_and_status_2(file, content, message, run, command):
    (run / file).write_text(content)
    done = command("report", "run")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"report: {message}") and done.err.count("\n") == 1
    assert not (run / "report.html").exists()


def test_without_matplotlib_one_line_says_what_to_install(run, command, without_matplotlib):
    done = command("report", "run")
    assert refused(done, "figures need matplotlib: pip install matplotlib")


def test_train_without_matplotlib_writes_no_report(quick, tmp_path, without_matplotlib):
    done = quick("--run_dir=a", "--report")
    assert (done.status, done.errors) == (0, "")
    assert done.out.endswith("run folder: a\n")
    assert {path.name for path in (tmp_path / "a").iterdir()} == RUN_FILES


def test_a_report_that_fails_leaves_the_run_complete(quick, tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyError("paint\nis out")

    monkeypatch.setattr(run_module, "write_report_from_memory", fail)
    done = quick("--run_dir=run", "--report")
    assert (done.status, done.errors) == (0, "")
    assert done.out.endswith("run folder: run\n")
    assert re.search(r"^no report: .*paint.*$", done.err, re.MULTILINE)
    assert (tmp_path / "run" / "model.keras").is_file()
