"""Metric states merge by addition, for any parts in any order."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.examples import examples
from helpers.executions import EXECUTIONS
from hypothesis import given
from hypothesis import strategies as st

import trainlib as tl
from trainlib.metrics import Mean, merge

SIZE, K = 24, 4
RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, K, SIZE)
SCORES = RNG.integers(0, 9, (SIZE, K)) / 8
WEIGHT = RNG.choice([0, 0.1, 1, 3.5], SIZE)
VALUES = RNG.normal(size=(2, SIZE, K))
METRICS = {
    "accuracy": tl.metrics.mean(tl.metrics.accuracy),
    "mean_squared_error": tl.metrics.mean(tl.metrics.mean_squared_error),
    "root_mean_squared_error": tl.metrics.root_mean_squared_error(),
    "r2_score": tl.metrics.r2_score("none"),
    "r2_score adjusted": tl.metrics.r2_score(num_regressors=3),
    "expected_calibration_error": tl.metrics.expected_calibration_error(num_bins=4),
    "precision": tl.metrics.precision([0.25, 0.5, 0.75]),
    "recall": tl.metrics.recall(top_k=2),
    "f1_score": tl.metrics.f1_score("none"),
    "fbeta_score": tl.metrics.fbeta_score("none", beta=2.0),
    "true_negatives": tl.metrics.true_negatives([0.25, 0.75]),
    "recall_at_precision": tl.metrics.recall_at_precision(0.3),
    "iou": tl.metrics.iou([0, 2]),
    "mean_pearson_correlation": tl.metrics.pearson_correlation(),
    "mean_concordance_correlation of examples": tl.metrics.concordance_correlation(axis=0),
    "mean_sum": tl.metrics.sum(),
    "mean_dice": tl.metrics.dice(),
    "mean_tversky": tl.metrics.tversky(alpha=0.25),
    "auc": tl.metrics.auc(),
    "auc at thresholds": tl.metrics.auc(thresholds=[0.25, 0.5]),
    "auc by label": tl.metrics.auc(curve="PR", multi_label=True),
    "confusion_matrix": tl.metrics.confusion_matrix(),
    "on_probabilities": tl.metrics.on_probabilities(tl.metrics.auc(), "sigmoid"),
}


def data_of(name):
    by_number = name.startswith(("mean_", "root", "r2"))
    return VALUES if by_number else (CLASSES, SCORES)


def state_of(name, rows=slice(None)):
    y_true, y_pred = data_of(name)
    return METRICS[name].from_model_output(y_true[rows], y_pred[rows], WEIGHT[rows])


def assert_close(ours, theirs, tolerance=1e-12):
    tf.nest.assert_same_structure(ours, theirs)
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", METRICS)
@examples(3, 12)
@given(cuts=st.lists(st.integers(0, SIZE), max_size=5), shuffle=st.randoms(use_true_random=False))
def test_any_split_merged_in_any_order_equals_the_whole(name, cuts, shuffle):
    ends = [0, *sorted(cuts), SIZE]
    parts = [
        state_of(name, slice(start, stop)) for start, stop in zip(ends[:-1], ends[1:], strict=True)
    ]
    shuffle.shuffle(parts)
    while len(parts) > 1:  # two neighbours at a time, in any order of parentheses
        i = shuffle.randrange(len(parts) - 1)
        parts[i : i + 2] = [merge(parts[i], parts[i + 1])]
    assert_close(parts[0], state_of(name))
    metric = METRICS[name]
    assert_close(metric.compute(parts[0]), metric.compute(state_of(name)))


@pytest.mark.parametrize("name", METRICS)
def test_an_empty_state_has_the_shapes_of_a_state_is_neutral_and_computes_0(name):
    metric, state = METRICS[name], state_of(name)
    empty = metric.empty(K)
    for a, b in zip(tf.nest.flatten(empty), tf.nest.flatten(state), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert a.dtype == tf.float64
        assert not np.any(a)
    assert_close(merge(empty, state), state, 0)
    assert_close(metric.from_model_output(*(a[:0] for a in data_of(name))), empty, 0)
    assert not np.any(metric.compute(empty))


@pytest.mark.parametrize("name", METRICS)
def test_examples_of_weight_0_are_excluded(name):
    kept = WEIGHT != 0
    assert 0 < kept.sum() < SIZE
    assert_close(state_of(name), state_of(name, kept))
    nothing = METRICS[name].from_model_output(*data_of(name), np.zeros(SIZE))
    assert_close(nothing, METRICS[name].empty(K), 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", METRICS)
def test_examples_of_weight_0_may_hold_what_is_not_finite(name, value):
    y_true, y_pred = (
        np.where(WEIGHT[:, None] == 0, value, a) if a.dtype.kind == "f" else a
        for a in data_of(name)
    )
    state = METRICS[name].from_model_output(y_true, y_pred, WEIGHT)
    assert_close(state, state_of(name))


@pytest.mark.parametrize("name", [name for name in METRICS if name != "r2_score adjusted"])
def test_an_example_of_weight_3_counts_as_three_examples(name):
    y_true, y_pred = data_of(name)
    weight = np.tile([1.0, 3.0], SIZE // 2)
    rows = np.repeat(np.arange(SIZE), weight.astype(int))
    metric = METRICS[name]
    once, thrice = (
        metric.from_model_output(y_true, y_pred, weight),
        metric.from_model_output(y_true[rows], y_pred[rows]),
    )
    assert_close(metric.compute(once), metric.compute(thrice))


def dtypes_by_execution():
    """Each dtype in each way of running: as a graph one, and all others in soak."""
    for execution in EXECUTIONS:
        for dtype in ("float64", "float32", "float16", "bfloat16"):
            soon = execution == "eager" or (execution, dtype) == ("graph", "bfloat16")
            yield pytest.param(execution, dtype, marks=[] if soon else [pytest.mark.soak])


@pytest.mark.parametrize(("execution", "dtype"), dtypes_by_execution())
@pytest.mark.parametrize("name", METRICS)
def test_any_dtype_in_any_execution_gives_float64(name, execution, dtype):
    metric = METRICS[name]
    y_true, y_pred = data_of(name)
    if y_pred.dtype == y_true.dtype:  # of exactly representable numbers
        y_true, y_pred = np.round(4 * VALUES) / 4
    whole = EXECUTIONS[execution](lambda *arrays: metric.compute(metric.from_model_output(*arrays)))
    result = whole(tf.constant(y_true), tf.cast(y_pred, dtype), tf.constant(WEIGHT))
    assert result.dtype == tf.float64
    assert_close(result, metric.compute(metric.from_model_output(y_true, y_pred, WEIGHT)))


@pytest.mark.parametrize("name", METRICS)
def test_the_number_of_examples_may_be_unknown_in_a_graph(name):
    y_true, y_pred = data_of(name)
    specs = [tf.TensorSpec([None, *np.shape(a)[1:]], a.dtype) for a in (y_true, y_pred, WEIGHT)]
    metric = METRICS[name]
    traced = tf.function(metric.from_model_output, input_signature=specs, autograph=False)
    assert_close(traced(y_true, y_pred, WEIGHT), state_of(name))
    for a, b in zip(
        tf.nest.flatten(traced.get_concrete_function().structured_outputs),
        tf.nest.flatten(metric.empty(K)),
        strict=True,
    ):
        assert a.shape == b.shape


def test_states_of_two_kinds_do_not_merge():
    with pytest.raises(
        ValueError, match="one merged with it must have the structure of a metric state"
    ):
        merge(Mean.from_model_output([1.0]), METRICS["precision"].empty(K))


def test_a_mean_merges_and_divides_once():
    first, second = Mean.from_model_output([1.0, 4.0]), Mean.from_model_output([7.0], [0.5])
    both = first.merge(second)
    assert isinstance(both, tl.Mean)
    assert [float(x) for x in both] == [8.5, 2.5]
    assert float(both.compute()) == 8.5 / 2.5
    assert_close(both, merge(first, second), 0)
    assert Mean.empty().compute() == Mean.from_model_output([1.0, 2.0], [0.0, 0.0]).compute() == 0


def test_the_weight_of_an_example_applies_to_each_of_its_values():
    mean = Mean.from_model_output([[1.0, 3.0], [5.0, 7.0]], [1.0, 3.0])
    assert (float(mean.total), float(mean.count)) == (20, 4)


@pytest.mark.parametrize("weight", [None, [1.0, 3.0], "by step"])
def test_batches_of_several_lengths_count_by_their_examples_as_in_keras(weight):
    theirs, mean = keras.metrics.Mean(), Mean.empty()
    for length in (1, 3):
        values = np.arange(2.0 * length, dtype="float32").reshape(2, length)
        w = values + 0.5 if weight == "by step" else weight
        theirs.update_state(values, w)
        mean = mean.merge(Mean.from_model_output(values, w))
    assert float(mean.compute()) == pytest.approx(float(theirs.result()), rel=1e-6)
    assert float(mean.count) == pytest.approx(float(theirs.count), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int32", "bool"])
def test_a_mean_is_float64_for_values_of_any_dtype(dtype):
    # In bfloat16 a sum of ones stops at 256; an integer dtype would cut the weights to 0.
    mean = Mean.from_model_output(tf.cast(tf.ones([1000]), dtype), tf.fill([1000], 0.5))
    assert (mean.total.dtype, mean.count.dtype) == (tf.float64, tf.float64)
    assert (float(mean.total), float(mean.count)) == (500, 500)


def test_counts_continue_beyond_the_integers_of_float32():
    mean = Mean(tf.constant(2.0**24, tf.float64), tf.constant(2.0**24, tf.float64))
    merged = mean.merge(Mean.from_model_output([1.0]))
    assert (float(merged.total), float(merged.count)) == (2**24 + 1, 2**24 + 1)


def test_float32_values_are_summed_in_float64():
    values = np.resize(np.float32([1.0, 1e-8]), 2000)
    expected = np.sum(values.astype("float64"))
    np.testing.assert_allclose(Mean.from_model_output(values).total, expected, rtol=1e-15)


def test_masked_losses_count_only_under_their_mask():
    masked = tl.losses.Masked.where(tf.constant([True, False, True]), tf.constant([2.0, 9.0, 4.0]))
    assert [float(x) for x in Mean.from_model_output(masked, [1.0, 1.0, 3.0])] == [14, 4]


def test_results_of_functions_and_of_the_loss_are_means():
    metrics = {"accuracy": tl.metrics.accuracy, "f1": tl.metrics.f1_score("none")}
    states = {"loss": Mean.from_model_output([1.0, 2.0])} | {
        name: tl.metrics.as_metric(metric).from_model_output([0, 1, 1], np.eye(2)[[0, 0, 1]])
        for name, metric in metrics.items()
    }
    values = tl.metrics.results(metrics, states)
    assert list(values) == ["loss", "accuracy", "f1"]
    assert float(values["loss"]) == 1.5
    assert float(values["accuracy"]) == pytest.approx(2 / 3, rel=1e-15)
    np.testing.assert_allclose(values["f1"], [2 / 3, 2 / 3], rtol=1e-6)


@pytest.mark.parametrize(("activation", "f"), [("sigmoid", tf.sigmoid), ("softmax", tf.nn.softmax)])
def test_on_probabilities_applies_the_activation_to_logits(activation, f):
    logits = tf.constant(8 * SCORES - 4)
    accuracy = functools.partial(tl.metrics.binary_accuracy, threshold=0.75)
    for metric in (tl.metrics.precision(0.75), accuracy):
        ours = tl.metrics.on_probabilities(metric, activation)
        whole = tl.metrics.as_metric(metric)
        state = ours.from_model_output(CLASSES, logits, WEIGHT)
        assert_close(state, whole.from_model_output(CLASSES, f(logits), WEIGHT), 0)
        assert np.any(whole.from_model_output(CLASSES, logits, WEIGHT)[0] != state[0])
        assert_close(ours.empty(K), whole.empty(K), 0)
    with pytest.raises(
        ValueError, match="^unknown activation 'tanh': choose from sigmoid, softmax"
    ):
        tl.metrics.on_probabilities(tl.metrics.accuracy, "tanh")


def test_a_sum_is_that_of_a_function_or_of_the_predictions():
    hits = tl.metrics.sum(tl.metrics.accuracy)
    expected = np.sum(WEIGHT * (np.argmax(SCORES, axis=1) == CLASSES))
    state = hits.from_model_output(CLASSES, SCORES, WEIGHT)
    assert float(hits.compute(state)) == pytest.approx(expected, rel=1e-14)
    state = tl.metrics.sum().from_model_output(CLASSES, SCORES)
    assert float(tl.metrics.sum().compute(state)) == SCORES.sum()


@pytest.mark.parametrize("name", [name for name in METRICS if name != "accuracy"])
@pytest.mark.parametrize("shape", [(SIZE + 1,), (SIZE, K + 1), (SIZE, K, 1), (2,)])
def test_weights_of_another_shape_are_rejected(name, shape):
    with pytest.raises(ValueError, match="sample_weight must have the shape"):
        METRICS[name].from_model_output(*data_of(name), np.ones(shape))
