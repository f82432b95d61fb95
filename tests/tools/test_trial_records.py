"""Records of trials: which is the best, and their table."""

from __future__ import annotations

import csv
import io

from trainlib.tools.trial_records import TrialRecord, best_of, to_csv

TRIALS = [
    TrialRecord(0, "failed", None, {"a": 1, "b": "x"}, error='ValueError: no, "never"'),
    TrialRecord(1, "complete", 0.5, {"a": 2}, (0.4, 0.6), 7, 1.23456),
    TrialRecord(2, "pruned", 0.1, {"a": 3}, (0.1,), 1, 0.5),
    TrialRecord(3, "complete", 0.9, {"a": 4, "b": "y,z"}, (0.8, 1.0), 7, 2.0),
    TrialRecord(4, "complete", 0.5, {"a": 5}, (0.5, 0.5), 7, 2.0),
]


def test_the_best_is_complete_and_the_first_of_equals():
    assert best_of(TRIALS, is_minimized=True).number == 1
    assert best_of(TRIALS, is_minimized=False).number == 3
    assert best_of([TRIALS[0], TRIALS[2]], is_minimized=True) is None


def test_the_table_has_a_column_for_each_parameter_and_fold():
    rows = list(csv.DictReader(io.StringIO(to_csv(TRIALS, "val_loss"))))
    assert list(rows[0]) == [
        *("number", "state", "val_loss", "a", "b", "val_loss_1", "val_loss_2"),
        *("epochs", "seconds", "error"),
    ]
    assert rows[0]["error"] == 'ValueError: no, "never"' and rows[0]["val_loss"] == ""
    assert rows[1] == {
        **{"number": "1", "state": "complete", "val_loss": "0.5", "a": "2", "b": ""},
        **{"val_loss_1": "0.4", "val_loss_2": "0.6", "epochs": "7", "seconds": "1.235"},
        "error": "",
    }
    assert (rows[2]["val_loss_2"], rows[3]["b"]) == ("", "y,z")
