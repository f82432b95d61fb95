"""Metrics and other objects of Keras give what Keras gives, over batches, weights and replicas."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.keras_objects import (
    BINARY,
    CLASSES,
    LABELS,
    NUMBERS,
    ROWS,
    SIZE,
    WEIGHT,
    K,
    classes_of,
    of_binary,
    of_classes,
    of_counts,
    of_labels,
    of_numbers,
    of_rows,
)

import trainlib as tl
from trainlib.training.resolve import metrics_by_name

CUTS = (0, 1, 16, SIZE)
"""Boundaries of uneven parts: one example, many, the rest."""
METRICS = {
    "Accuracy": ((CLASSES, np.argmax(ROWS, axis=1)), {}),
    "AUC": (of_binary, {"curve": "PR"}),
    "BinaryAccuracy": (of_binary, {"threshold": 0.25}),
    "BinaryCrossentropy": (of_labels, {"from_logits": True}),
    "BinaryIoU": (of_binary, {"target_class_ids": [1]}),
    "CategoricalAccuracy": (of_rows, {}),
    "CategoricalCrossentropy": (of_rows, {}),
    "CategoricalHinge": (of_rows, {}),
    "ConcordanceCorrelation": (of_numbers, {}),
    "CosineSimilarity": (of_numbers, {}),
    "F1Score": (of_rows, {}),
    "FBetaScore": (of_labels, {"beta": 2.0, "threshold": 0.25}),
    "FalseNegatives": (of_binary, {}),
    "FalsePositives": (of_binary, {"thresholds": [0.25, 0.5]}),
    "Hinge": (of_labels, {}),
    "IoU": (of_classes, {"num_classes": K, "target_class_ids": [0, 2], "sparse_y_pred": False}),
    "KLDivergence": (of_rows, {}),
    "LogCoshError": (of_numbers, {}),
    "MeanAbsoluteError": (of_numbers, {}),
    "MeanAbsolutePercentageError": (of_numbers, {}),
    "MeanIoU": (of_classes, {"num_classes": K, "sparse_y_pred": False, "ignore_class": 1}),
    "MeanSquaredError": (of_numbers, {}),
    "MeanSquaredLogarithmicError": (of_counts, {}),
    "OneHotIoU": (of_rows, {"num_classes": K, "target_class_ids": [1]}),
    "OneHotMeanIoU": (of_rows, {"num_classes": K}),
    "PearsonCorrelation": (of_numbers, {}),
    "Poisson": (of_counts, {}),
    "Precision": (of_labels, {"top_k": 2}),
    "PrecisionAtRecall": (of_binary, {"recall": 0.5}),
    "R2Score": (of_numbers, {}),
    "Recall": (of_labels, {"class_id": 1}),
    "RecallAtPrecision": (of_binary, {"precision": 0.5}),
    "RootMeanSquaredError": (of_numbers, {}),
    "SensitivityAtSpecificity": (of_binary, {"specificity": 0.5}),
    "SparseCategoricalAccuracy": (of_classes, {}),
    "SparseCategoricalCrossentropy": (of_classes, {"ignore_class": 1}),
    "SparseTopKCategoricalAccuracy": (of_classes, {"k": 2}),
    "SpecificityAtSensitivity": (of_binary, {"sensitivity": 0.5}),
    "SquaredHinge": (of_labels, {}),
    "TopKCategoricalAccuracy": (of_rows, {"k": 2}),
    "TrueNegatives": (of_binary, {}),
    "TruePositives": (of_binary, {}),
}
OF_VALUES = {"Mean", "MeanMetricWrapper", "Metric", "Sum"}
"""Base classes, and metrics of values instead of targets and predictions."""
FRACTIONS_CUT_OFF = ("IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU", "BinaryIoU")
"""Keras's sums of these are whole numbers, unless the metric has another dtype."""


def test_the_table_holds_every_metric_of_keras():
    assert set(METRICS) == classes_of(keras.metrics, keras.metrics.Metric) - OF_VALUES


def merged(metric, arrays):
    """The value of a metric of the merged states of uneven parts."""
    outputs = arrays[1].shape[-1] if arrays[1].ndim > 1 else 1
    state = metric.empty(outputs)
    for start, stop in zip(CUTS[:-1], CUTS[1:], strict=True):
        part = metric.from_model_output(*(tf.constant(a[start:stop]) for a in arrays))
        state = tl.metrics.merge(state, part)
    return metric.compute(state)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_object_gives_keras_result_over_merged_parts(name):
    arrays, options = METRICS[name]
    ours = tl.metric_from_keras(getattr(keras.metrics, name)(**options))
    dtype = {"dtype": "float32"} if name in FRACTIONS_CUT_OFF else {}
    peer = getattr(keras.metrics, name)(**options, **dtype)
    for weights in ((), (WEIGHT,)):
        peer.reset_state()
        peer.update_state(*arrays, *weights)
        np.testing.assert_allclose(
            merged(ours, (*arrays, *weights)), peer.result(), rtol=2e-6, atol=1e-7
        )


def test_sorted_classes_are_no_scores():
    options = {"k": 2, "from_sorted_ids": True}
    peer = keras.metrics.SparseTopKCategoricalAccuracy(**options)
    ours = tl.metric_from_keras(keras.metrics.SparseTopKCategoricalAccuracy(**options))
    y_true, ids = tf.constant([0, 1, 2]), tf.constant([[2, 0, 1], [2, 0, 1], [2, 1, 0]])
    peer.update_state(y_true, ids)
    found = ours.compute(ours.from_model_output(y_true, ids))
    assert float(found) == pytest.approx(float(peer.result())) == pytest.approx(2 / 3)


@pytest.mark.soak
def test_metric_objects_compile():
    made = {
        name: tl.metric_from_keras(getattr(keras.metrics, name)(**options))
        for name, (_, options) in METRICS.items()
    }
    data = {name: tuple(map(tf.constant, METRICS[name][0])) for name in made}

    def states(data):
        return {
            name: metric.from_model_output(*data[name], tf.constant(WEIGHT))
            for name, metric in made.items()
        }

    compiled = tf.function(states, jit_compile=True, autograph=False)(data)
    for name, metric in made.items():
        arrays, state = METRICS[name][0], compiled[name]
        expected = metric.from_model_output(*map(tf.constant, arrays), tf.constant(WEIGHT))
        np.testing.assert_allclose(
            metric.compute(state), metric.compute(expected), rtol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("options", [{"multi_label": True}, {"multi_label": True, "num_labels": K}])
def test_a_metric_that_makes_its_variables_late_is_left_as_it_is(options):
    metric, peer = keras.metrics.AUC(**options), keras.metrics.AUC(**options)
    peer.update_state(LABELS, ROWS)
    before = len(metric.variables)
    assert float(merged(tl.metric_from_keras(metric), (LABELS, ROWS))) == pytest.approx(
        float(peer.result()), rel=1e-6
    )
    assert len(metric.variables) == before
    assert not any(np.any(v) for v in metric.variables)


def test_fractional_weights_are_not_cut_off_in_an_intersection_over_union():
    metric = keras.metrics.MeanIoU(num_classes=K, sparse_y_pred=False)
    expected = tl.metrics.mean_iou()
    arrays = (CLASSES, ROWS, WEIGHT)
    assert float(merged(tl.metric_from_keras(metric), arrays)) == pytest.approx(
        float(merged(expected, arrays)), rel=1e-6
    )


class Largest(keras.metrics.Metric):
    """The largest error: not a sum."""

    def __init__(self, name="largest", **options):
        super().__init__(name=name, **options)
        self.value = self.add_variable((), "zeros", name="value")

    def update_state(self, y_true, y_pred, sample_weight=None):
        error = keras.ops.max(keras.ops.abs(y_true - y_pred))
        self.value.assign(keras.ops.maximum(self.value, error))

    def result(self):
        return self.value


class Bias(keras.metrics.Metric):
    """The mean error, and the number of examples, with or without regard to weights."""

    def __init__(self, name="bias", weighted=True, **options):
        super().__init__(name=name, **options)
        self.weighted = weighted
        self.total = self.add_variable((), "zeros", name="total")
        self.inner = keras.metrics.Sum()

    def update_state(self, y_true, y_pred, sample_weight=None):
        error = keras.ops.mean(y_pred - y_true, axis=-1)
        if sample_weight is None or not self.weighted:
            sample_weight = keras.ops.ones_like(error)
        self.total.assign_add(keras.ops.sum(error * sample_weight))
        self.inner.update_state(sample_weight)

    def result(self):
        return {"mean": self.total / self.inner.result(), "count": self.inner.result()}


def test_a_custom_metric_of_sums_is_merged_and_may_have_several_values():
    made, peer = metrics_by_name([Bias()]), Bias()
    peer.update_state(*NUMBERS, WEIGHT)
    state = made["bias"].from_model_output(*map(tf.constant, NUMBERS), tf.constant(WEIGHT))
    values = tl.metrics.results(made, {"bias": state})
    assert list(values) == ["bias_mean", "bias_count"]
    for key, expected in peer.result().items():
        np.testing.assert_allclose(values[f"bias_{key}"], expected, rtol=1e-6)


def test_a_metric_whose_parts_cannot_be_merged_is_refused():
    y, p = map(tf.constant, NUMBERS)
    with pytest.raises(ValueError, match="^metric Largest does more than add to its variable"):
        tl.metric_from_keras(Largest()).from_model_output(y, p)
    unweighted = tl.metric_from_keras(Bias(weighted=False))
    unweighted.from_model_output(y, p)
    with pytest.raises(ValueError, match="^metric Bias adds .* without regard to sample_weight"):
        unweighted.from_model_output(y, p, tf.constant(WEIGHT))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])


def test_a_trainer_reports_what_keras_reports_whatever_the_batches(model):
    x, y = NUMBERS[0], BINARY[:, None]
    metrics = [keras.metrics.AUC(name="auc"), "bce", keras.metrics.binary_accuracy]
    loss = keras.losses.BinaryCrossentropy(label_smoothing=0.25)
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=list(metrics))
    right = model.evaluate(x, y, verbose=0, return_dict=True, batch_size=SIZE)
    trainer = tl.Trainer(model, loss, tl.sgd(0.0), metrics=metrics, execution="graph")
    fitted = trainer.fit((x, y), batch_size=6)[0]
    evaluated = trainer.evaluate((x, BINARY), batch_size=16)
    for found in (fitted, evaluated):
        for name in ("loss", "auc", "bce", "binary_accuracy"):
            assert found[name] == pytest.approx(right[name], rel=1e-5), name


def test_regularizers_of_keras_are_summed_over_the_parameters(model):
    params = {"w": tf.constant([[1.0, -3.0]]), "v": tf.constant([[2.0]])}
    for peer in (keras.regularizers.L1(0.5), keras.regularizers.L1L2(0.25, 0.5)):
        expected = sum(float(peer(w)) for w in params.values())
        assert float(tl.regularizer_from_keras(peer)(params)) == pytest.approx(expected)
    y, options = BINARY[:, None], {"regularizer": keras.regularizers.L2(0.5)}
    trainer = tl.Trainer(model, "mse", tl.sgd(0.1), execution="graph", **options)
    kernel = next(w for w in trainer.state.params.values() if w.shape.rank == 2)
    plain = tl.Evaluator(model, "mse", execution="graph").evaluate((NUMBERS[0], y))["loss"]
    expected = plain + 0.5 * float(tf.reduce_sum(kernel**2))
    assert trainer.evaluate((NUMBERS[0], y))["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": keras.losses.Huber}, "loss must be .*, got the class Huber: write Huber()"),
        ({"metrics": [keras.metrics.AUC]}, "metric must be .*, got the class AUC: write AUC()"),
        ({"metrics": keras.metrics.AUC()}, "metrics must be a list, got <AUC"),
        ({"optimizer": keras.optimizers.Adam()}, "optimizer must .* tl.interop.optimizer_from_ker"),
        ({"optimizer": "adam"}, "optimizer must be an Optimizer .*: write tl.adam()"),
        ({"optimizer": tl.adam}, "optimizer must be an Optimizer .*: call adam"),
        ({"regularizer": keras.regularizers.L2}, "regularizer must be a function such as tl.l2()"),
    ],
)
def test_classes_and_optimizers_of_keras_are_refused_with_what_to_write(model, arguments, message):
    given = {"loss": "mse", "optimizer": tl.sgd(), **arguments}
    with pytest.raises(TypeError, match=f"^{message}"):
        tl.Trainer(model, given.pop("loss"), given.pop("optimizer"), **given)


def test_a_step_config_refuses_objects_of_keras_and_names_the_conversion():
    def apply_fn(params, model_state, x, training):
        return tl.ModelOutput(x * params)

    with pytest.raises(TypeError, match="tl.loss_from_keras converts a loss of Keras"):
        tl.StepConfig(apply_fn, keras.losses.MeanSquaredError())
    with pytest.raises(TypeError, match="tl.metric_from_keras converts a metric of Keras"):
        tl.StepConfig(apply_fn, tl.losses.huber, metrics={"auc": keras.metrics.AUC()})


S = keras.optimizers.schedules
SCHEDULES = {
    "exponential": S.ExponentialDecay(0.5, 4, 0.5, staircase=True),
    "inverse time": S.InverseTimeDecay(0.5, 4, 0.5),
    "polynomial": S.PolynomialDecay(0.5, 4, 0.1, power=2.0, cycle=True),
    "piecewise": S.PiecewiseConstantDecay([2, 4], [0.5, 0.25, 0.125]),
    "cosine": S.CosineDecay(0.1, 6, warmup_target=0.5, warmup_steps=3),
    "restarts": S.CosineDecayRestarts(0.5, 3),
}


def test_schedules_of_keras_are_learning_rates():
    w = tf.ones([2])
    for name, schedule in SCHEDULES.items():
        tx = tl.sgd(schedule)

        def steps(tx=tx):
            state, updates = tx.init(w), []
            for _ in range(8):
                update, state = tx.update(tf.ones([2]), state, w)
                updates.append(-update[0])
            return tf.stack(updates)

        expected = [float(schedule(step)) for step in range(8)]
        np.testing.assert_allclose(steps(), expected, rtol=1e-6, err_msg=name)
        compiled = tf.function(steps, jit_compile=True, autograph=False)()
        np.testing.assert_allclose(compiled, expected, rtol=1e-6, err_msg=name)


def test_constraints_of_keras_act_on_the_updated_parameters():
    w = tf.constant([[3.0, 0.3], [-4.0, 0.4]])
    for peer in (keras.constraints.MaxNorm(1.0), keras.constraints.NonNeg()):
        tx = tl.chain(tl.sgd(0.5), tl.constrain(peer))
        updates, _ = tx.update(tf.ones([2, 2]), tx.init(w), w)
        np.testing.assert_allclose(tl.apply_updates(w, updates), peer(w - 0.5), rtol=1e-6)
    with pytest.raises(TypeError, match="got the class NonNeg: write NonNeg()"):
        tl.constrain(keras.constraints.NonNeg)
    with pytest.raises(TypeError, match="got the class CosineDecay: write CosineDecay"):
        tl.sgd(S.CosineDecay)
