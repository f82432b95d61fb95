"""Raw cells of a table become the same inputs in TensorFlow as in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainlib.data.frames import read_frame
from trainlib.data.preprocessing import fit_preprocessing
from trainlib.data.table_graph import cell_dtypes, cells_of, encode_cells

pytest.importorskip("pandas")
TRAINED = """age,kind,town,seen,born,price
20,cat,A,2024-02-29 12:30:00,2001-01-01,1
,dog,,2024-03-01 00:00:00,,2
40,cat,B,2023-12-31 23:59:59,1999-12-31,3
41,dog,B,2024-01-01 01:00:00,2002-06-30,4
50,,A,2024-05-05 05:05:05,2003-03-03,5
60,emu,C,2024-06-06 06:06:06,2004-04-04,6
"""
NEW = """age,kind,town,seen,born,price
30,emu,,2024-07-01 10:00:00,2010-10-10,1
,,D,2020-01-01 00:00:00,,2
35,yak,A,2025-01-01 00:00:01,1980-01-01,3
"""


def test_cells_are_encoded_as_the_rules_say(tmp_path):
    for name, text in (("trained.csv", TRAINED), ("new.csv", NEW)):
        (tmp_path / name).write_text(text)
    frame = read_frame(tmp_path / "trained.csv")
    rules = fit_preprocessing(frame, np.arange(frame.size))
    new = read_frame(tmp_path / "new.csv", rules.target, rules.text_columns, rules.decimal)
    kinds = {"age": "float64", "kind": "string", "town": "string"}
    assert cell_dtypes(rules) == {**kinds, "seen": "float64", "born": "float64"}
    for rows in (frame, new):
        cells = {n: tf.constant(x) for n, x in cells_of(rows, rules).items()}
        np.testing.assert_allclose(
            encode_cells(rules, cells), rules.encode(rows).x, rtol=1e-9, atol=1e-9
        )
    assert rules.columns[1].other == 1, "the test has a category without an input of its own"
