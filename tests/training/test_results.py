"""The results that a run reports: metrics, learning rates, the loss scale, skipped steps."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl


def line(params, model_state, x, training):
    return tl.ModelOutput(x @ params["w"], model_state)


def trainer_of(optimizer=None, **options):
    model = tl.FunctionalModel(line, {"w": tf.zeros([1, 1])})
    return tl.Trainer(model, "mean_squared_error", optimizer or tl.sgd(0.25), **options)


GOOD = np.ones([4, 1], "float32"), np.ones([4, 1], "float32")
BAD = np.full([4, 1], np.nan, "float32"), np.ones([4, 1], "float32")


def test_a_constant_learning_rate_is_not_reported():
    assert set(trainer_of().fit(GOOD)[0]) == {"epoch", "step", "loss", "seconds"}


def test_a_learning_rate_in_the_state_is_reported():
    results = trainer_of(tl.inject_hyperparams(tl.sgd)(0.25)).fit(GOOD)[0]
    assert results["learning_rate"] == 0.25


def test_a_reported_schedule_has_the_value_of_the_last_update():
    schedule = tl.exponential_decay(0.5, 1, 0.5)
    trainer = trainer_of(tl.sgd(schedule), report={"rate": schedule})
    assert [results["rate"] for results in trainer.fit(GOOD, epochs=3)] == [0.5, 0.25, 0.125]


def test_with_accumulation_a_reported_schedule_has_the_value_of_the_last_update():
    schedule = tl.exponential_decay(0.5, 1, 0.5)
    trainer = trainer_of(tl.accumulate(tl.sgd(schedule), 2), report={"rate": schedule})
    history = trainer.fit(GOOD, epochs=3, batch_size=1)  # two updates of two batches an epoch
    assert [results["rate"] for results in history] == [0.25, 0.0625, 0.015625]


@pytest.mark.parametrize(
    ("wrap", "rates"),
    [
        (tl.sam, [0.25, 0.0625, 0.015625]),
        (lambda tx: tl.accumulate(tl.sam(tx), 2), [0.5, 0.25, 0.125]),
        (lambda tx: tl.sam(tl.accumulate(tx, 2)), [0.5, 0.25, 0.125]),
    ],
    ids=["sam", "accumulate of sam", "sam of accumulate"],
)
def test_with_sam_a_reported_schedule_has_the_value_of_the_last_update(wrap, rates):
    schedule = tl.exponential_decay(0.5, 1, 0.5)
    trainer = trainer_of(wrap(tl.sgd(schedule)), report={"rate": schedule})
    history = trainer.fit(GOOD, epochs=3, batch_size=1)
    assert [results["rate"] for results in history] == rates


def test_a_reported_schedule_does_not_count_updates_that_are_not_finite():
    schedule = tl.exponential_decay(0.5, 1, 0.5)
    optimizer = tl.apply_if_finite(tl.sgd(schedule))
    trainer = trainer_of(optimizer, report={"rate": schedule}, nonfinite="none")
    assert trainer.fit([GOOD, BAD, GOOD, BAD])[0]["rate"] == 0.25


@pytest.mark.parametrize("nonfinite", ["none", "skip"])
def test_skipped_steps_are_reported_where_they_are_counted(nonfinite):
    trainer = trainer_of(nonfinite=nonfinite)
    results = trainer.fit([GOOD, BAD, GOOD])[0]
    if nonfinite == "none":
        assert "skipped_steps" not in results and np.isnan(results["loss"])
        assert trainer.batches_seen == results["step"] == 3
    else:
        assert (results["skipped_steps"], results["overflowed"]) == (1, "the loss")
        assert (results["step"], trainer.batches_seen) == (2, 3)


def test_a_loss_scale_is_reported_with_its_skipped_steps():
    results = trainer_of(loss_scale=tl.static_loss_scale(8.0)).fit(GOOD)[0]
    assert (results["loss_scale"], results["skipped_steps"]) == (8.0, 0)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (None, {"norms": True, "metrics": ["mean_absolute_error"]}),
        (tl.inject_hyperparams(tl.sgd)(0.5), {"nonfinite": "skip"}),
        (None, {"report": {"rate": lambda step: tf.constant(0.1)}}),
    ],
)
def test_the_names_of_results_are_known_before_the_first_epoch(optimizer, options):
    trainer = trainer_of(optimizer, **options)
    for validation in (None, GOOD):
        names = trainer.context.results.names(validation is not None)
        (results,) = trainer.fit(GOOD, validation_data=validation)
        assert names == list(results)


def ranks():
    """A metric of two named values."""
    mean = tl.metrics.mean(tl.metrics.mean_squared_error)
    return mean._replace(compute=lambda s: {"top": s.compute(), "weight": s.count})


def test_named_values_of_a_metric_are_monitored_by_their_names():
    trainer = trainer_of(metrics={"ranks": ranks()})
    refused = tl.callbacks.EarlyStopping("val_ranks", mode="min")
    with pytest.raises(ValueError, match="val_ranks_top, val_ranks_weight"):
        trainer.fit(GOOD, validation_data=GOOD, callbacks=[refused])
    assert trainer.batches_seen == 0
    monitor = tl.callbacks.EarlyStopping("val_ranks_top", mode="min")
    (results,) = trainer.fit(GOOD, validation_data=GOOD, callbacks=[monitor])
    assert trainer.context.results.names(True) == list(results)


def test_a_metric_that_needs_the_true_number_of_outputs_does_not_prevent_a_fit():
    metric = ranks()._replace(
        empty=lambda outputs: tf.zeros([outputs], tf.float64),
        compute=lambda state: tf.reshape(state, [3])[2],
    )
    assert "third" in trainer_of(metrics={"third": metric}).context.results.names(False)


def test_a_monitor_of_no_result_is_refused_before_the_first_step():
    trainer = trainer_of()
    for callback in (
        tl.callbacks.EarlyStopping("val_loss"),
        tl.callbacks.SaveBest("losss", mode="min"),
    ):
        with pytest.raises(ValueError, match="but the results are loss"):
            trainer.fit(GOOD, callbacks=[callback])
    assert trainer.batches_seen == 0
