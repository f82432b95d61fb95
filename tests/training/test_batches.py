"""The forms of data and batches: pairs and inputs, tables, weights, and weights of classes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers.regression import DATA, WEIGHT, X, Y, trainer_of

import trainlib as tl
from trainlib.training.batches import class_factors, read_inputs, read_pair, weighted


@pytest.fixture(scope="module")
def trainer():
    """A trainer that is not trained."""
    return trainer_of()


def test_a_list_is_taken_as_the_tuple(trainer):
    assert trainer.evaluate(list(DATA)) == trainer.evaluate(DATA)
    parts = [X[:8], Y[:8]], [X[8:], Y[8:]]
    assert trainer.evaluate(list(parts)) == trainer.evaluate([tuple(part) for part in parts])


def test_a_bfloat16_tensor_of_pytorch_is_read_as_float32():
    torch = pytest.importorskip("torch")
    given = torch.tensor([[0.5, -3.0]], dtype=torch.bfloat16)
    x, _ = read_pair("data", (given, given))
    assert x.dtype == np.float32 and x.tolist() == [[0.5, -3.0]]


def test_separate_arguments_are_refused_with_the_form_to_write(trainer):
    for call in (lambda t: t.fit(X, Y), lambda t: t.fit(x=X, y=Y), lambda t: t.fit((X, Y), 32)):
        with pytest.raises(
            TypeError, match=r"^fit takes the data as one argument .* fit\(\(x, y\)"
        ):
            call(trainer)
    for call in (lambda t: t.fit(X), lambda t: t.evaluate(X, Y)):
        with pytest.raises(TypeError, match=r"got ndarray: pass arrays as one tuple"):
            call(trainer)


def test_weights_lose_last_axes_of_length_one(trainer):
    for shape in ([37, 1], [37, 1, 1]):
        assert trainer.evaluate((X, Y, WEIGHT.reshape(shape))) == trainer.evaluate(DATA)
    assert read_pair("data", (X, Y, np.ones([37, 5, 1])))[2].shape == (37, 5)
    assert len(read_pair("data", (X, Y, None))) == 2


@pytest.mark.parametrize("shape", [(6, 1), (6, 4), (6, 4, 1)])
def test_weighted_steps_of_time_equal_keras(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 4, 3)).astype("float32")
    y = rng.normal(size=(6, 4, 2)).astype("float32")
    weight = rng.uniform(0.5, 2, shape).astype("float32")
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Dense(2)])
    by_weight = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    model.compile("sgd", by_weight)
    full = weight if len(shape) == 3 or shape[1] > 1 else np.repeat(weight, 4, axis=1)
    right = model.evaluate(x, y, sample_weight=full, batch_size=6, verbose=0)
    evaluator = tl.Evaluator(model, "mean_squared_error")
    assert evaluator.evaluate((x, y, weight))["loss"] == pytest.approx(right, rel=1e-6)


def test_inputs_of_a_batch():
    for batch in (X, (X,), [X], (X, Y), (X, Y, WEIGHT)):
        (x,) = read_inputs("x", batch)
        assert x is X
    with pytest.raises(TypeError, match=r"^x must be x, \(x, y\) .* got a tuple of 4"):
        read_inputs("x", (X, X, X, X))


def test_tables_and_columns_of_pandas_are_arrays(trainer):
    pd = pytest.importorskip("pandas")
    table, column = pd.DataFrame(X), pd.Series(Y[:, 0])
    assert trainer.evaluate((table, column, pd.Series(WEIGHT))) == trainer.evaluate(DATA)
    np.testing.assert_array_equal(trainer.predict(table), trainer.predict(X))
    mixed = table.assign(flag=True, count=pd.array([1] * 36 + [None], dtype="Int64"))
    (x,) = read_inputs("x", mixed)
    assert x.shape == (37, 8) and x.dtype == "float64" and np.isnan(x[-1, -1])
    nullable = column.convert_dtypes()
    assert trainer.evaluate((table, nullable.array)) == trainer.evaluate((X, Y))
    (y,) = read_inputs("y", pd.array([1, None], "Int64"))
    assert y.dtype == "float64"
    np.testing.assert_array_equal(y, [[1.0], [np.nan]])
    with pytest.raises(TypeError, match="^data .* column 'city' has dtype"):
        trainer.fit((table.assign(city="Oslo"), column))


CLASSES = np.array([0, 1, 2, 1])


@pytest.mark.parametrize(
    "y", [CLASSES, CLASSES[:, None], CLASSES.astype("float32"), np.eye(3)[CLASSES]]
)
def test_class_weights_multiply_the_sample_weights(y):
    factors = class_factors("data", y, {0: 2.0, 1: 0.5})
    assert weighted(factors).tolist() == [2.0, 0.5, 1.0, 0.5]
    assert weighted(factors, [1.0, 2.0, 3.0, 4.0]).tolist() == [2.0, 1.0, 3.0, 2.0]
    by_step = weighted(factors, np.ones([4, 2]))
    assert by_step.tolist() == [[2.0, 2.0], [0.5, 0.5], [1.0, 1.0], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("y", "problem"),
    [
        ({"a": CLASSES, "b": CLASSES}, "has several outputs"),
        (np.array([0.5, 1.0, 2.0, 0.25]), "holds numbers that are not classes"),
        (np.ones([4, 3]), r"of shape \[4, 3\] is not one-hot"),
        (np.ones([4, 3, 3]), r"has the shape \[4, 3, 3\]"),
    ],
)
def test_class_weights_of_other_targets_are_refused(y, problem):
    with pytest.raises(ValueError, match=f"^class_weight needs classes .* of data {problem}"):
        class_factors("data", y, {0: 2.0})
