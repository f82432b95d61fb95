"""The objects that flags stand for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainlib.cli import build
from trainlib.registry import (
    CLIPPING,
    LOSSES,
    OPTIMIZERS,
    REGULARIZERS,
    SCHEDULES,
    hyperparameters,
)

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


@pytest.mark.parametrize("loss", [*LOSSES, "auto"])
def test_targets_metrics_and_outputs_suit_the_loss(loss, parse):
    task = build.build_task(parse(f"--loss={loss}"))
    settled = "sparse_categorical_crossentropy" if loss == "auto" else loss
    assert task.loss == settled
    labels = task.dataset.test.y
    if loss in ("binary_crossentropy", "categorical_crossentropy"):
        assert task.test.y.shape == (359, 10)
        assert (task.test.y.argmax(1) == labels).all() and (task.test.y.sum(1) == 1).all()
    else:
        assert (task.test.y == labels).all()
    if settled.endswith("crossentropy"):
        activation = "sigmoid" if settled.startswith("binary") else "softmax"
        assert (task.outputs, task.metrics) == (10, ("accuracy",))
    else:
        activation = None
        assert task.test.y.dtype == np.float32
        assert task.outputs == 1
        others = [name for name in ("mean_squared_error", "mean_absolute_error") if name != loss]
        assert task.metrics == tuple(others)
    assert task.output_activation == activation


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


def rate(schedule, step):
    return float(schedule(tf.constant(step, tf.int64)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_moves_by_its_own_default_rate(name, parse):
    made = build.build_optimizer(parse(f"--optimizer={name}"), 10)
    optimizer, schedule = made.optimizer, made.schedule
    params = {"w": tf.constant([1.0, 2.0])}
    expected, _ = OPTIMIZERS[name]().update(params, OPTIMIZERS[name]().init(params), params)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-6)
    own = hyperparameters(OPTIMIZERS[name])["learning_rate"].default
    assert rate(schedule, 5) == pytest.approx(own)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--schedule=constant",), {0: 0.1, 99: 0.1}),
        (("--schedule=cosine_decay",), {0: 0.1, 50: 0.05, 100: 0}),
        (("--schedule=cosine_decay", "--alpha=0.5"), {0: 0.1, 100: 0.05}),
        (("--schedule=cosine_decay", "--decay_steps=50"), {25: 0.05, 50: 0, 100: 0}),
        (
            ("--schedule=cosine_decay", "--warmup_steps=20", "--warmup_target=0.5"),
            {0: 0.1, 10: 0.3, 20: 0.5, 60: 0.25, 100: 0},
        ),
        (("--schedule=exponential_decay", "--decay_rate=0.25"), {0: 0.1, 50: 0.05, 100: 0.025}),
        (
            (
                "--schedule=exponential_decay",
                "--decay_rate=0.5",
                "--decay_steps=40",
                "--staircase",
            ),
            {39: 0.1, 40: 0.05, 100: 0.025},
        ),
    ],
)
def test_a_schedule_spans_the_run_unless_told_otherwise(arguments, expected, parse):
    values = parse("--optimizer=sgd", "--learning_rate=0.1", "--epochs=2", *arguments)
    optimizer, schedule, *_ = build.build_optimizer(values, 50)
    assert {k: rate(schedule, k) for k in expected} == pytest.approx(expected, rel=1e-6, abs=1e-8)
    params = {"w": tf.constant([1.0])}
    state = optimizer.init(params)._replace(step=tf.constant(39, tf.int64))
    updates, _ = optimizer.update(params, state, params)
    assert float(updates["w"][0]) == pytest.approx(-rate(schedule, 39))


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--clipvalue=1", [[-1.0, -1.0], [-0.5]]),
        ("--clipnorm=1", [[-0.6, -0.8], [-0.5]]),
        ("--global_clipnorm=1", [[-3 / 25.25**0.5, -4 / 25.25**0.5], [-0.5 / 25.25**0.5]]),
    ],
)
def test_gradients_are_clipped_before_the_optimizer(flag, expected, parse):
    values = parse("--optimizer=sgd", "--learning_rate=0.1", flag)
    optimizer = build.build_optimizer(values, 10).optimizer
    grads = [tf.constant([3.0, 4.0]), tf.constant([0.5])]
    updates, _ = optimizer.update(grads, optimizer.init(grads), grads)
    for update, clipped in zip(updates, expected, strict=True):
        np.testing.assert_allclose(update, np.multiply(0.1, clipped), rtol=1e-6)


def test_every_member_of_these_kinds_is_shown_here():
    assert set(CLIPPING) == {"clip_by_value", "clip_by_norm", "clip_by_global_norm"}
    assert set(SCHEDULES) == {"constant", "cosine_decay", "exponential_decay"}
    assert set(REGULARIZERS) == {"l1", "l2", "l1_l2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--optimizer=nadm",), "^unknown optimizer 'nadm': did you mean 'nadam'"),
        (
            ("--schedule=cosine_decy",),
            "^unknown schedule 'cosine_decy': did you mean 'cosine_decay",
        ),
        (("--optimizer=sgd", "--beta_1=0.5"), "^--beta_1 is not for optimizer sgd, which takes"),
        (("--decay_steps=3",), "^--decay_steps is not for schedule constant, which takes none"),
        (("--schedule=exponential_decay",), "^schedule exponential_decay needs --decay_rate$"),
        (("--learning_rate=-1",), "^learning_rate must be at least 0, got -1.0$"),
        (("--learning_rate=nan",), "^learning_rate must be finite and at least 0, got nan$"),
        (("--beta_1=1",), "^beta_1 must be at least 0 and below 1, got 1.0$"),
        (("--schedule=cosine_decay", "--decay_steps=0"), "^decay_steps must be above 0, got 0$"),
        (("--optimizer=sgd", "--nesterov"), "^nesterov needs a momentum above 0"),
        (("--clipnorm=0",), "^clipnorm must be above 0, got 0.0$"),
        (
            ("--clipnorm=1", "--clipvalue=1"),
            "^give only one of --clipvalue, --clipnorm, --global_clipnorm$",
        ),
    ],
)
def test_optimizers_that_cannot_be_made_are_refused(arguments, message, parse):
    with pytest.raises(ValueError, match=message):
        build.build_optimizer(parse(*arguments), 10)


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
        (("--regularizer=l3", "--l1=1"), "^unknown regularizer 'l3': there are l1, l2, l1_l2$"),
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


def test_rules_and_accumulation_reach_the_optimizer(parse):
    values = parse(
        "--optimizer=sgd",
        "--learning_rate=0.5",
        "--schedule=exponential_decay",
        "--decay_rate=0.5",
        "--decay_steps=1",
        "--param_rules=b:freeze; a:learning_rate*=0.5",
        "--gradient_accumulation_steps=2",
    )
    made = build.build_optimizer(values, 3)
    params = {"a": tf.constant(1.0), "b": tf.constant(1.0)}
    state = made.optimizer.init(params)
    for expected in (0.0, -0.25):
        updates, state = made.optimizer.update(params, state, params)
        assert float(updates["a"]) == expected and not updates["b"]
    assert [rate(made.rate, k) for k in range(5)] == [0.5, 0.5, 0.25, 0.125, 0.125]
    assert made.table(params)[-1].split() == ["b", "frozen"]
