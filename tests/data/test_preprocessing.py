"""The rules of a whole table: fitted to training rows, applied by name, kept as JSON."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from trainlib.data import TablePreprocessing, load_dataset, load_examples
from trainlib.data.columns import NumberColumn
from trainlib.data.frames import Frame
from trainlib.data.preprocessing import (
    add_preprocessing,
    fit_preprocessing,
    preprocessing_of_model,
    read_preprocessing,
    write_preprocessing,
)


def frame(**columns) -> Frame:
    """A table of these columns, which predicts y."""
    arrays = {
        name: np.array(cells, object if any(isinstance(x, str) for x in cells) else np.float64)
        for name, cells in columns.items()
    }
    return Frame(Path("t.csv"), "y", arrays, range(2, len(next(iter(arrays.values()))) + 2))


TABLE = frame(
    n=[1, 2, 3, None],
    t=["u", "v", "u", "v"],
    same=["s"] * 4,
    id=["i1", "i2", "i3", "i4"],
    y=["a", "b", "a", "b"],
)
RULES = fit_preprocessing(TABLE, np.arange(4), ("a", "b"))


def test_the_columns_that_tell_something_become_inputs():
    assert RULES.inputs == ("n", "n=(empty)", "t=u", "t=v")
    assert RULES.scaled == (True, False, False, False)
    assert RULES.encode(TABLE).x.tolist() == [
        [1, 0, 1, 0],
        [2, 0, 0, 1],
        [3, 0, 1, 0],
        [2, 1, 0, 1],
    ]
    assert RULES.left_out == {"same": "the same in every row", "id": "different in every row"}
    assert RULES.describe() == (
        "columns: 1 of numbers, 1 of categories; 4 inputs",
        "columns left out: same (the same in every row), id (different in every row)",
    )


def test_columns_with_categories_that_share_an_input_are_described():
    rules = fit_preprocessing(frame(t=[*"aabbcd"], y=[*"vwvwvw"]), np.arange(6))
    assert rules.describe() == (
        "columns: 1 of categories; 3 inputs",
        "categories with an input of their own, the others share one: t (2 of 4)",
    )


def test_statistics_are_those_of_the_training_rows():
    rules = fit_preprocessing(frame(n=[1, 3, 99, 99], y=["a", "b", "a", "b"]), np.arange(2))
    assert rules.columns == (NumberColumn("n", 2.0),)
    assert rules.describe() == ()


def test_columns_are_found_by_name_and_others_are_ignored_with_a_note():
    encoded = RULES.encode(frame(more=[0], y=["a"], t=["v"], id=["i9"], n=[7]))
    assert encoded.x.tolist() == [[7, 0, 0, 1]]
    assert encoded.notes == ("columns ignored, which the model does not take: more",)
    with pytest.raises(ValueError, match="t.csv has no column 't'; the model takes n, t$"):
        RULES.encode(frame(n=[7]))


def test_a_table_without_columns_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="no columns to predict 'y' from; id: different in every"):
        fit_preprocessing(frame(id=["i1", "i2"], y=["a", "b"]), np.arange(2))


def test_rules_are_kept_in_a_folder(tmp_path):
    assert read_preprocessing(tmp_path) is None
    write_preprocessing(tmp_path, RULES)
    assert read_preprocessing(tmp_path) == RULES
    assert [path.name for path in tmp_path.iterdir()] == ["preprocessing.json"]
    (tmp_path / "preprocessing.json").write_text('{"columns": [{"kind": "colours"}]}')
    with pytest.raises(ValueError, match="preprocessing.json: no rules of a table"):
        read_preprocessing(tmp_path)


def test_dates_are_kept_as_json(tmp_path):
    pytest.importorskip("pandas")
    rules = fit_preprocessing(frame(d=["2024-01-01", "2024-02-01"], y=["1", "2"]), np.arange(2))
    assert TablePreprocessing.from_json(rules.to_json()) == rules


def test_a_table_is_loaded_by_the_rules_of_another(tmp_path):
    pytest.importorskip("pandas")
    rows = "".join(f"{k % 5},{'uv'[k % 2]},{'lo hi'.split()[k % 2]}\n" for k in range(20))
    (tmp_path / "a.csv").write_text("n,t,y\n" + rows)
    (tmp_path / "b.csv").write_text("t,n\nv,3\n")
    data = load_dataset(tmp_path / "a.csv")
    assert (data.classes, data.class_names) == (2, ("hi", "lo"))
    assert data.feature_names == data.preprocessing.inputs == ("n", "t=u", "t=v")
    x = load_examples(tmp_path / "b.csv", preprocessing=data.preprocessing)
    assert (x.tolist(), x.dtype) == ([[3, 0, 1]], np.float32)


def test_the_first_column_may_be_an_index_without_a_name(tmp_path):
    (tmp_path / "a.csv").write_text(",n,y\n" + "".join(f"{k},{k % 5},{k % 2}\n" for k in range(20)))
    data = load_dataset(tmp_path / "a.csv")
    assert data.feature_names == ("n",)
    assert data.notes == ("columns left out: the first (it has no name)",)


def test_the_rules_are_found_in_a_model_or_beside_it(tmp_path):
    model = tmp_path / "model.keras"
    with zipfile.ZipFile(model, "w") as archive:
        archive.writestr("config.json", "{}")
    assert preprocessing_of_model(model) is None
    write_preprocessing(tmp_path, RULES)
    assert preprocessing_of_model(model) == RULES
    add_preprocessing(model, RULES)
    (tmp_path / "preprocessing.json").unlink()
    assert preprocessing_of_model(model) == RULES
