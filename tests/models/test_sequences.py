"""`rnn` and `transformer` read sequences of numbers, of vectors, and of integers with padding."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except

import trainlib as tl
from trainlib.models import MODELS, rnn, transformer

SMALL = {"rnn": {"units": 4, "embedding": 3}, "transformer": {"width": 4, "heads": 2, "depth": 1}}
VOCABULARY = 7


def make(name, shape=(6,), outputs=2, *arguments, **options):
    keras.utils.set_random_seed(0)
    return MODELS[name](shape, outputs, *arguments, **SMALL[name] | options)


def tokens(rows, steps=6):
    """Integers from 1, with zeros at the end of each row."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, VOCABULARY, size=(rows, steps)).astype("int32")
    lengths = rng.integers(2, steps + 1, size=rows)
    return np.where(np.arange(steps) < lengths[:, None], x, 0)


@pytest.mark.parametrize(
    ("cell", "gates", "biases"), [("lstm", 4, 1), ("gru", 3, 2), ("simple", 1, 1)]
)
def test_recurrent_layers_have_the_parameters_of_their_gates(cell, gates, biases):
    model = rnn((6, 3), 2, cell=cell, units=5)
    assert model.count_params() == gates * (3 * 5 + 5 * 5 + biases * 5) + 5 * 2 + 2


def test_recurrent_layers_are_stacked_and_read_in_both_directions():
    model = rnn(
        (6, 3), 2, units=5, depth=2, bidirectional=True, dropout=0.5, dropout_kind="spatial"
    )
    order = "dropout_1 lstm_1 dropout_2 lstm_2 outputs"
    assert [x.name for x in model.layers] == order.split()
    assert model.get_layer("lstm_1").output.shape == (None, 6, 10)
    assert model.get_layer("lstm_2").output.shape == (None, 10)


def test_a_transformer_has_the_parameters_of_its_parts():
    width, units, steps = 8, 16, 6
    attention = 4 * (width * width + width)
    dense = width * units + units + units * width + width
    block = attention + dense + 2 * 2 * width
    expected = (3 * width + width) + steps * width + 2 * block + 2 * width + width * 2 + 2
    model = transformer((steps, 3), 2, width=width, heads=2, feedforward=units)
    assert model.count_params() == expected


@pytest.mark.parametrize("name", SMALL)
def test_padding_is_ignored(name):
    options = {"positions": "none"} if name == "transformer" else {}
    whole, cut = (make(name, (steps,), vocabulary=VOCABULARY, **options) for steps in (6, 3))
    x = tokens(5)
    shorter = np.where(np.arange(6) < 3, x, 0)
    np.testing.assert_allclose(whole(shorter), cut(shorter[:, :3]), rtol=1e-4, atol=1e-6)
    assert np.any(whole(shorter).numpy() != whole(x).numpy())


@pytest.mark.parametrize("name", SMALL)
def test_a_sequence_of_padding_only_has_a_finite_output_and_gradient(name):
    model = make(name, vocabulary=VOCABULARY, dropout=0.0)
    x = tokens(3)
    alone = model(x).numpy()
    x[1] = 0
    with tf.GradientTape() as tape:
        y = model(x)
        loss = tf.reduce_sum(y**2)
    np.testing.assert_allclose(y.numpy()[[0, 2]], alone[[0, 2]], rtol=1e-5, atol=1e-6)
    assert np.isfinite(y).all()
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_positions_tell_an_order_that_attention_alone_does_not():
    x = np.array([[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]], "int32")
    for positions in ("none", "learned", "sinusoidal"):
        first, second = make("transformer", vocabulary=VOCABULARY, positions=positions)(x).numpy()
        assert np.allclose(first, second, atol=1e-6) == (positions == "none")


@pytest.mark.parametrize("name", soak_except("rnn", names=SMALL))
def test_sequences_of_integers_are_learned_and_saved(name, tmp_path):
    x = tokens(64)
    y = (x == 3).any(axis=1).astype("int32")
    model = make(name, (6,), 2, "softmax", vocabulary=VOCABULARY, dropout=0.1)
    trainer = tl.Trainer(model, "sparse_categorical_crossentropy", tl.adam(0.03), execution="graph")
    before = trainer.evaluate((x, y))["loss"]
    trainer.fit((x, y), batch_size=64, epochs=30, verbose=0)
    assert trainer.evaluate((x, y))["loss"] < 0.7 * before
    model.save(tmp_path / "model.keras")
    loaded = tl.models.load_model(str(tmp_path / "model.keras"))
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (
            lambda: rnn((6, 3), 2, vocabulary=9),
            "vocabulary is for sequences of integers, of 1 axis",
        ),
        (lambda: rnn((6, 3, 2), 2), "model rnn needs sequences, of 1 or 2 axes"),
        (lambda: rnn((6,), 2, cell="none"), "unknown cell 'none'"),
        (lambda: transformer((6,), 2, width=9), "width must be a multiple of heads, 4, got 9"),
        (lambda: transformer((6,), 2, positions="all"), "unknown positions 'all'"),
        (
            lambda: rnn((6,), 2, None, [keras.layers.Rescaling(2)], vocabulary=9),
            "preprocessing is for numbers",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make_it, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make_it()
