"""Folders of images, from `train` to `evaluate`, `predict` and `report`."""

from __future__ import annotations

import csv
import io
import json

import pytest
from helpers.images import CLASSES, save, shade, write_folder

from trainlib.data import image_files

pytest.importorskip("PIL")

FLAGS = ("--hidden=8", "--epochs=30", "--batch_size=8", "--learning_rate=0.01")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, quick_runs):
    """The folder of a run on images of two sizes, which are beside it."""
    path = write_folder(tmp_path_factory.mktemp("data") / "pets", dict.fromkeys(CLASSES, 20))
    for label, name in enumerate(CLASSES):
        save(path / name / "wide.png", shade(label, 99, (16, 24)))
    return quick_runs(f"--dataset={path}", "--train_examples=50", *FLAGS), path


def test_the_run_records_the_size_the_colors_and_the_classes(finished):
    run, path = finished
    config = json.loads((run / "config.json").read_text())
    assert config["dataset"] == str(path)
    assert (config["data"]["image_size"], config["data"]["color_mode"]) == ("8x8", "grayscale")
    summary = json.loads((run / "summary.json").read_text())
    assert summary["class_names"] == list(CLASSES)
    assert summary["test"]["accuracy"] == 1


def test_images_are_predicted_with_names(finished, command, tmp_path):
    run, path = finished
    one, other = path / "dog" / "wide.png", save(tmp_path / "new.jpg", shade(0, 7, (30, 30, 3)))
    done = command("predict", f"--run_dir={run}", f"--data={one},{other}")
    header, *rows = csv.reader(io.StringIO(done.out))
    assert header == ["file", "class", *(f"p_{name}" for name in CLASSES)]
    assert [row[1] for row in rows] == ["dog", "bird"]
    assert rows[1][0] == "new.jpg"
    done = command("predict", f"--run_dir={run}", f"--data={path / 'cat'}")
    rows = list(csv.reader(io.StringIO(done.out)))[1:]
    assert len(rows) == 21 and {row[1] for row in rows} == {"cat"}


def test_a_folder_is_evaluated_whole_with_the_classes_of_the_run(finished, command, tmp_path):
    run, _ = finished
    write_folder(tmp_path / "new", {"none": 0, "cat": 5, "dog": 5})
    done = command("evaluate", f"--run_dir={run}", "--dataset=new")
    assert (done.status, json.loads(done.out)["accuracy"]) == (0, 1)
    save(tmp_path / "new" / "fox" / "0.png", shade(0, 0))
    done = command("evaluate", f"--run_dir={run}", "--dataset=new")
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "evaluate: new/fox: the class 'fox' is not known; the classes are bird, cat, dog\n"
    )


def test_a_folder_with_parts_is_evaluated_on_a_test_part(finished, command, tmp_path):
    run, _ = finished
    for part in ("train", "validation"):
        write_folder(tmp_path / "new" / part, dict.fromkeys(CLASSES, 25))
    done = command("evaluate", f"--run_dir={run}", "--dataset=new")
    assert (done.status, json.loads(done.out)["accuracy"]) == (0, 1)


@pytest.mark.soak
def test_the_report_names_the_classes(finished, command, tmp_path):
    pytest.importorskip("matplotlib")
    run, _ = finished
    assert command("report", str(run), f"--out={tmp_path / 'page'}").status == 0
    page = (tmp_path / "page" / "report.html").read_text()
    assert all(name in page for name in CLASSES)


def test_images_on_disk_give_the_bits_of_images_in_memory(finished, quick, monkeypatch, tmp_path):
    run, path = finished
    monkeypatch.setattr(image_files, "MEMORY_BYTES", 100)
    flags = (f"--dataset={path}", "--train_examples=50", "--run_dir=disk", *FLAGS)
    done = quick(*flags)
    assert "decoded once into a temporary file, because memory is short: train, test" in done.err
    found = json.loads((tmp_path / "disk" / "summary.json").read_text())
    expected = json.loads((run / "summary.json").read_text())
    assert found["params_sha256"] == expected["params_sha256"]


def test_bad_folders_are_one_line(quick, command, tmp_path, finished):
    write_folder(tmp_path / "pets", {"a": 3, "b": 3})
    (tmp_path / "pets" / "a" / "001.png").write_bytes(b"\x89PNG")
    done = quick("--dataset=pets", "--run_dir=none")
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "train: pets/a/001.png cannot be read as an image (it ends within its header); replace it "
        "or remove it\n"
    )
    assert not (tmp_path / "none").exists()
    done = quick("--dataset=pets", "--image_size=8")
    assert done.err.startswith("train: --image_size must be height x width in pixels, such as 32x3")
