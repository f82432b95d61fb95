"""The history in a file."""

from __future__ import annotations

import json

from trainlib.callbacks import JsonLines, Progress

PROGRESS = Progress(1, 3, 10, 10, dict)


def test_each_epoch_is_an_object_on_a_line_of_its_own(tmp_path):
    path = tmp_path / "metrics.jsonl"
    callback = JsonLines(path)
    history = [{"epoch": i, "step": 10 * i, "loss": 1 / (3 * i), "seconds": 0.1} for i in (1, 2, 3)]
    for count, results in enumerate(history, start=1):
        callback.on_step(PROGRESS)
        callback.on_epoch(PROGRESS, results)
        text = path.read_text(encoding="utf-8")
        assert text.endswith("}\n")
        assert [json.loads(line) for line in text.splitlines()] == history[:count]
    callback.on_end()
    assert path.read_text(encoding="utf-8") == text
    assert list(json.loads(text.splitlines()[0])) == ["epoch", "step", "loss", "seconds"]


def test_a_file_that_is_there_is_added_to(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\n', encoding="utf-8")
    JsonLines(path).on_epoch(PROGRESS, {"epoch": 2, "loss": 0.5})
    assert path.read_text(encoding="utf-8") == '{"epoch": 1}\n{"epoch": 2, "loss": 0.5}\n'


def test_nothing_is_written_before_the_first_epoch(tmp_path):
    path = tmp_path / "metrics.jsonl"
    callback = JsonLines(path)
    callback.on_step(PROGRESS)
    callback.on_end()
    assert not path.exists()
