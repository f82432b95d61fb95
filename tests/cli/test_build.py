"""The objects that flags stand for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.cli import build
from trainlib.cli.flags import GROUPS
from trainlib.cli.targets import ONE_HOT, takes_logits, target_of
from trainlib.registry import LOSSES

L = keras.layers
IMAGES = np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4)
ROWS = np.random.default_rng(0).normal([5.0, -3.0], [2.0, 0.5], (40, 2))
LABELS = np.arange(40) % 3
SCALING = ["Normalization", "Rescaling", "Activation", "Rescaling"]


@pytest.fixture
def own(tmp_path):
    """Writes one's own data set; the flag that names it."""

    def write(**arrays):
        np.savez(tmp_path / "own.npz", **arrays)
        return f"--dataset={tmp_path / 'own.npz'}"

    return write


@pytest.fixture
def table(tmp_path, write_table):
    """A table whose target is a whole number (class) or not (price), by the columns' names."""

    def write(*columns):
        values = {"a": ROWS[:, 0], "b": ROWS[:, 1], "class": LABELS, "price": ROWS.sum(1)}
        write_table(tmp_path / "own.csv", **{name: values[name] for name in columns})
        return f"--dataset={tmp_path / 'own.csv'}"

    return write


@pytest.mark.parametrize("loss", [*GROUPS["loss"], "auto"])
def test_targets_metrics_and_outputs_suit_the_loss(loss, parse):
    task = build.build_task(parse(f"--loss={loss}"))
    settled = "sparse_categorical_crossentropy" if loss == "auto" else loss
    assert (task.loss, task.target) == (settled, target_of(settled))
    labels = task.dataset.test.y
    if task.target.form == ONE_HOT:
        assert task.test.y.shape == (359, 10)
        assert (task.test.y.argmax(1) == labels).all() and (task.test.y.sum(1) == 1).all()
    else:
        assert (task.test.y == labels).all()
    if task.target.by_class:
        assert (task.outputs, task.metrics) == (10, ("accuracy",))
    else:
        assert task.test.y.dtype == np.float32
        assert task.outputs == 1
        others = [name for name in ("mean_squared_error", "mean_absolute_error") if name != loss]
        assert task.metrics == tuple(others)


@pytest.mark.parametrize("loss", GROUPS["loss"])
def test_every_loss_falls_on_what_its_model_predicts(loss, parse):
    values = parse(f"--loss={loss}", "--hidden=16", "--train_examples=200")
    task = build.build_task(values)
    built = build.build_models(values, task)
    assert built.from_logits == (task.target.activation is not None and takes_logits(loss))
    function = build.build_loss(values, task.loss, built.from_logits)
    trainer = tl.Trainer(built.trained, function, tl.adam(0.01), execution="graph")
    history = trainer.fit(tuple(task.train), epochs=3, validation_data=tuple(task.validation))
    losses = [epoch["loss"] for epoch in history]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert np.isfinite(history[-1]["val_loss"])


def test_with_a_penalty_the_loss_is_shown_without_it_too(parse):
    task = build.build_task(parse("--loss=mean_squared_error", "--regularizer=l2"))
    assert task.metrics == ("mean_squared_error", "mean_absolute_error")


@pytest.mark.parametrize(
    ("arguments", "sizes"),
    [
        ((), (1294, 144)),
        (("--validation_split=0",), (1438, None)),
        (("--train_examples=100", "--validation_split=0.25"), (75, 25)),
    ],
)
def test_parts_have_the_sizes_asked_for(arguments, sizes, parse):
    task = build.build_task(parse(*arguments))
    assert task.train.size == sizes[0]
    assert (task.validation and task.validation.size) == sizes[1]
    assert task.test.size == 359


def test_the_validation_part_follows_from_the_seed(parse):
    first, again, other = (
        build.build_task(parse(f"--seed={seed}")).validation.x for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--validation_split=1",), "^validation_split must be at least 0 and below 1, got 1.0$"),
        (("--validation_split=-0.1",), "^validation_split must be at least 0"),
        (("--train_examples=4", "--validation_split=0.1"), "^validation_split 0.1 keeps 0 of 4 "),
        (("--train_examples=4", "--validation_split=0.9"), "^validation_split 0.9 keeps 4 of 4 "),
        (("--train_examples=0",), "^train_examples must be at least 1 and at most 1438, got 0$"),
        (("--train_examples=1439",), "^train_examples must be .* at most 1438, got 1439$"),
        (("--loss=hubr",), "^unknown loss 'hubr': did you mean 'huber'"),
        (("--dataset=digit",), "^unknown data set 'digit' .did you mean 'digits'"),
    ],
)
def test_data_that_cannot_be_had_are_refused(arguments, message, parse):
    with pytest.raises(ValueError, match=message):
        build.build_task(parse(*arguments))


def test_classes_cannot_be_had_of_numbers(table, parse):
    flag = table("a", "b", "price")
    with pytest.raises(ValueError, match="^loss .* is for classes, but own.csv has numbers to"):
        build.build_task(parse(flag, "--loss=sparse_categorical_crossentropy"))


def test_columns_come_in_the_order_of_the_model(table, parse):
    values = parse(table("a", "class", "b", "price"), "--target=class")
    plain = build.build_task(values)
    assert plain.dataset.feature_names == ("a", "b", "price")
    ordered = build.build_task(values, ("b", "a"))
    assert ordered.dataset.feature_names == ("b", "a")
    for part in ("train", "validation", "test"):
        assert (getattr(ordered, part).x == getattr(plain, part).x[:, [1, 0]]).all()
        assert (getattr(ordered, part).y == getattr(plain, part).y).all()
    with pytest.raises(ValueError, match="^own.csv has no column 'c'; the model takes c, a$"):
        build.build_task(values, ("c", "a"))


def test_images_are_scaled_by_their_largest_value(own, parse):
    values = parse(own(x=IMAGES, y=LABELS), "--hidden=4")
    built = build.build_models(values, build.build_task(values))
    scale = built.full.layers[0]
    assert (type(scale).__name__, scale.scale) == ("Rescaling", 1 / 255)


def test_columns_are_standardized_by_the_training_part(own, parse):
    values = parse(own(x=ROWS, y=LABELS), "--hidden=4")
    task = build.build_task(values)
    scaled = build.build_models(values, task).full.layers[0](task.train.x).numpy()
    assert scaled.mean(0) == pytest.approx([0, 0], abs=1e-5)
    assert scaled.std(0) == pytest.approx([1, 1], rel=1e-5)


def test_data_are_left_as_they_are_where_asked(own, parse):
    values = parse(own(x=ROWS, y=LABELS), "--hidden=4", "--preprocess=none")
    built = build.build_models(values, build.build_task(values))
    assert type(built.full.layers[0]).__name__ == "Dense"


def test_the_loss_sees_logits_and_the_saved_model_gives_probabilities(parse):
    values = parse("--hidden=4")
    task = build.build_task(values)
    built = build.build_models(values, task)
    assert built.from_logits
    logits, probabilities = built.trained(task.test.x), built.full(task.test.x)
    np.testing.assert_allclose(tf.nn.softmax(logits), probabilities, rtol=1e-5)


def test_a_model_follows_from_its_seed(parse):
    def kernel(*arguments):
        values = parse("--hidden=4", *arguments)
        return build.build_models(values, build.build_task(values)).full.weights[0].numpy()

    assert (kernel("--seed=1") == kernel("--seed=1")).all()
    assert (kernel("--seed=1") != kernel("--seed=2")).all()


def dense(*first, activation="softmax"):
    return keras.Sequential([keras.Input((2,)), *first, L.Dense(3, activation=activation)])


def softmax_apart():
    return keras.Sequential([keras.Input((2,)), L.Dense(3), L.Softmax()])


@pytest.mark.parametrize(
    ("make", "layers", "from_logits"),
    [
        (dense, ["InputLayer", *SCALING, "Sequential"], False),
        (softmax_apart, ["InputLayer", *SCALING, "Sequential"], True),
        (lambda: dense(L.Rescaling(0.1)), ["Rescaling", "Dense"], False),
    ],
)
def test_ones_own_model_is_scaled_once(make, layers, from_logits, own, tmp_path, parse):
    make().save(tmp_path / "own.keras")
    values = parse(own(x=ROWS, y=LABELS), f"--model={tmp_path / 'own.keras'}")
    task = build.build_task(values)
    built = build.build_models(values, task)
    assert [type(layer).__name__ for layer in built.full.layers] == layers
    assert built.from_logits == from_logits
    given = built.trained(task.test.x)
    np.testing.assert_allclose(
        tf.nn.softmax(given) if from_logits else given, built.full(task.test.x), rtol=1e-5
    )


def two_inputs():
    a, b = keras.Input((2,)), keras.Input((2,))
    return keras.Model([a, b], L.Dense(3)(L.Add()([a, b])))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (two_inputs, "^the model must begin with keras.Input, have one input and one output$"),
        (
            lambda: keras.Sequential([L.Dense(3)]),
            "^the model must begin with keras.Input, have one input and one output$",
        ),
        (
            lambda: keras.Sequential([keras.Input((4,)), L.Dense(3)]),
            r"^the model takes examples of shape \(4,\); those of own.npz have shape \(2,\)$",
        ),
        (
            lambda: keras.Sequential([keras.Input((2, 1)), L.Flatten(), L.Dense(3)]),
            r"^the model takes examples of shape \(2, 1\)",
        ),
        (
            lambda: keras.Sequential([keras.Input((2,)), L.Dense(4)]),
            r"an example has shape \(4,\); sparse_.*entropy on own.npz needs \(3,\)$",
        ),
        (
            lambda: keras.Sequential([keras.Input((2,)), L.Dense(6), L.Reshape((2, 3))]),
            r"an example has shape \(2, 3\); .* needs \(3,\)$",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused(make, message, own, parse):
    task = build.build_task(parse(own(x=ROWS, y=LABELS)))
    with pytest.raises(ValueError, match=message):
        build.check_shapes(make(), task)


def test_a_model_of_any_size_fits(own, parse):
    task = build.build_task(parse(own(x=IMAGES, y=LABELS)))
    pooled = [L.Reshape((-1, 1)), L.GlobalAveragePooling1D(), L.Dense(3)]
    build.check_shapes(keras.Sequential([keras.Input((None, None)), *pooled]), task)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model=mpl", "--hidden=3"), "^unknown model 'mpl': did you mean 'mlp'"),
        (("--model=none.keras",), "^model none.keras: there is no such file$"),
        (("--activation=rellu",), "^unknown activation 'rellu': .* did you mean 'relu'[?]$"),
        (("--initializer=he_nomal",), "^unknown initializer 'he_nomal': .*mean 'he_normal'[?]$"),
        (("--model=cnn", "--hidden=3"), "^--hidden is not for model cnn, which takes --"),
    ],
)
def test_models_that_cannot_be_made_are_refused(arguments, message, parse):
    values = parse(*arguments)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build.build_models(values, build.build_task(values))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--regularizer=l1", "--l1=0.5"), 3.5),
        (("--regularizer=l2", "--l2=0.5"), 12.5),
        (("--regularizer=l1_l2", "--l1=0.5", "--l2=0.1"), 6.0),
        (("--regularizer=l2",), 0.25),
    ],
)
def test_a_penalty_is_that_of_its_hyperparameters(arguments, expected, parse):
    penalty = build.build_regularizer(parse(*arguments))
    assert float(penalty([tf.constant([[3.0, -4.0]])])) == pytest.approx(expected)


def test_there_is_no_penalty_unless_asked_for(parse):
    assert build.build_regularizer(parse()) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--regularizer=l3", "--l1=1"), "^unknown regularizer 'l3': .*there are l1, l2, l1_l2,"),
        (("--regularized_params=.*",), "^--regularized_params needs --regularizer$"),
        (("--l2=0.1",), "^--l2 needs --regularizer=l2 or l1_l2$"),
        (("--regularizer=l1", "--l2=0.1"), "^--l2 is not for regularizer l1, which takes --l1; "),
        (("--regularizer=l1", "--l1=-1"), "^l1 must be at least 0, got -1.0$"),
    ],
)
def test_penalties_that_cannot_be_made_are_refused(arguments, message, parse):
    with pytest.raises(ValueError, match=message):
        build.build_regularizer(parse(*arguments))


def test_a_loss_gets_its_hyperparameters(parse):
    y, z = tf.constant([[0.0]]), tf.constant([[3.0]])
    huber = build.build_loss(parse("--loss=huber", "--delta=2"), "huber", False)
    assert huber(y, z).numpy() == pytest.approx([4.0])
    name = "binary_crossentropy"
    smoothed = build.build_loss(parse(f"--loss={name}", "--label_smoothing=1"), name, True)
    expected = LOSSES[name](y + 0.5, z, from_logits=True)
    np.testing.assert_allclose(smoothed(y, z), expected, rtol=1e-6)


def test_a_loss_refuses_hyperparameters_of_others(parse):
    with pytest.raises(ValueError, match="^--delta is not for loss mean_squared_error, which"):
        build.build_loss(parse("--delta=2"), "mean_squared_error", False)


def test_a_run_is_described_on_one_line(parse):
    values = parse("--hidden=4", "--optimizer=sgd")
    task = build.build_task(values)
    assert build.describe(task, build.build_models(values, task), values) == (
        "digits: 1,294 training, 144 validation, 359 test examples; mlp: 310 parameters; sgd"
    )


def test_columns_are_standardized_and_bounded(own, parse):
    x = np.c_[np.r_[np.zeros(999), 1e6], np.arange(1000.0)]
    flag = own(x=x, y=np.arange(1000) % 2)
    values = parse(flag, "--validation_split=0", "--hidden=")
    task = build.build_task(values)
    full = build.build_models(values, task).full
    bounded = keras.Model(full.inputs[0], full.get_layer("in_standard_deviations").output)
    scaled = np.asarray(bounded(x))
    assert np.abs(scaled).max() == build.FARTHEST
    mean, deviation = task.train.x[:, 1].mean(), task.train.x[:, 1].std()
    np.testing.assert_allclose(scaled[:, 1], (x[:, 1] - mean) / deviation, rtol=1e-4, atol=1e-5)


def values_of(metrics, parse, *arguments):
    """The metrics' values on digits, of probabilities and of the logits behind them."""
    values = parse(f"--metrics={','.join(metrics)}", "--validation_split=0", *arguments)
    task = build.build_task(values)
    z = tf.constant(np.random.default_rng(0).normal(0, 2, (359, 10)), tf.float32)
    return [
        {
            name: metric.compute(metric.from_model_output(task.test.y, y_pred)).numpy()
            for name, metric in build.build_metrics(values, task, from_logits).items()
        }
        for y_pred, from_logits in ((tf.nn.softmax(z), False), (z, True))
    ]


def test_metrics_of_logits_are_those_of_the_probabilities(parse):
    names = ["accuracy", "precision", "recall", "auc", "f1_score", "confusion_matrix"]
    names.append("sparse_top_k_categorical_accuracy")
    of_probabilities, of_logits = values_of(names, parse)
    assert list(of_logits) == names
    for name in names:
        np.testing.assert_allclose(of_logits[name], of_probabilities[name], rtol=1e-6)
    assert 0.3 < of_logits["auc"] < 0.7 and 0 < of_logits["precision"] < 0.3


def test_metrics_get_their_hyperparameters(parse):
    ((all_ten, _), (first, _)) = (
        values_of(["sparse_top_k_categorical_accuracy"], parse, f"--k={k}") for k in (10, 1)
    )
    assert all_ten["sparse_top_k_categorical_accuracy"] == 1
    assert first["sparse_top_k_categorical_accuracy"] < 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metrics=acuracy",), "^unknown metric 'acuracy': did you mean 'accuracy'"),
        (("--metrics=accuracy", "--k=3"), "^--k is not for metrics accuracy, which takes none; it"),
    ],
)
def test_metrics_that_cannot_be_made_are_refused(arguments, message, parse):
    values = parse(*arguments)
    with pytest.raises(ValueError, match=message):
        build.build_metrics(values, build.build_task(values), True)


def test_classes_have_the_weights_given_and_balanced_ones_weigh_the_same(parse):
    values = parse("--class_weight=3:2.5,0:0")
    task = build.build_task(values)
    _, y, weights = build.class_weighted(values, task)
    assert (weights == np.where(y == 3, 2.5, np.where(y == 0, 0, 1))).all()
    values = parse("--class_weight=balanced", "--loss=categorical_crossentropy")
    _, y, weights = build.class_weighted(values, build.build_task(values))
    by_class = y.T @ weights
    np.testing.assert_allclose(by_class, by_class.mean(), rtol=1e-5)
    assert weights.sum() == pytest.approx(len(y), rel=1e-5)
    assert len(build.class_weighted(parse(), task)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10:1", "^a class of class_weight must be at least 0 and at most 9, got 10$"),
        ("1", "^class_weight must be balanced or class:weight divided by commas"),
        ("1:-1", "^the weight of class 1 must be at least 0, got -1.0$"),
    ],
)
def test_class_weights_that_mean_nothing_are_refused(text, message, parse):
    values = parse(f"--class_weight={text}")
    with pytest.raises(ValueError, match=message):
        build.class_weighted(values, build.build_task(values))


def test_numbers_have_no_class_weights(parse):
    values = parse("--class_weight=balanced", "--loss=huber")
    with pytest.raises(ValueError, match="^class_weight is for classes; loss huber predicts num"):
        build.class_weighted(values, build.build_task(values))
