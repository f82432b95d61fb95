"""What can be a callback, and what callbacks may return."""

from __future__ import annotations

import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.callbacks import (
    Callback,
    RollBack,
    Save,
    SetHyperparams,
    SetWeights,
    Stop,
    TrainingStatus,
)
from trainlib.training.callback import as_callback, as_requests, check_monitored

STATUS = TrainingStatus(2, 3, 10, 10, 20, [{"loss": 1.0}, {"loss": 0.5}], dict, state=None)
REQUESTS = [Stop("no"), Save(), SetHyperparams({"a": 1.0}), SetWeights({}, {}), RollBack("no")]


def test_the_results_are_those_of_the_last_epoch():
    assert STATUS.results == {"loss": 0.5}
    assert STATUS._replace(history=[]).results == {}


def test_a_function_is_called_after_each_epoch_only():
    seen = []
    callback = as_callback(lambda status: seen.append(status) or Stop("enough"))
    for moment in ("on_train_begin", "on_train_batch_end", "on_test_batch_end", "on_train_end"):
        assert getattr(callback, moment)(STATUS) is None
    assert seen == []
    assert callback.on_epoch_end(STATUS) == Stop("enough")
    assert seen == [STATUS]


def test_a_callback_is_returned_unchanged():
    callback = Callback()
    assert as_callback(callback) is callback


@pytest.mark.parametrize("wrong", [None, 3, "early_stop", Callback])
def test_other_objects_are_refused(wrong):
    with pytest.raises(TypeError, match="^a callback must be a Callback or a function"):
        as_callback(wrong)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: type(r).__name__)
def test_a_request_may_be_single_or_in_a_list(request_):
    assert list(as_requests(Callback(), request_)) == [request_]
    assert list(as_requests(Callback(), [request_, Save()])) == [request_, Save()]


def test_none_and_empty_lists_are_no_requests():
    assert list(as_requests(Callback(), None)) == []
    assert list(as_requests(Callback(), [])) == []


@pytest.mark.parametrize("wrong", [True, "stop", [Save(), None], {"stop": True}])
def test_other_values_are_refused_with_the_name_of_the_callback(wrong):
    def custom(status):
        return wrong

    with pytest.raises(TypeError, match="^callback custom must return None or requests such as"):
        as_requests(as_callback(custom), wrong)
    with pytest.raises(TypeError, match="^callback Callback must return None"):
        as_requests(Callback(), wrong)


class Reads(Callback):
    """A callback that reads a result."""

    def __init__(self, name):
        self.monitored = (name,)


NAMES = ["epoch", "step", "loss", "accuracy", "matrix", "val_loss", "val_accuracy", "seconds"]


@pytest.mark.parametrize(
    ("name", "names", "message"),
    [
        ("val_acc", NAMES, "val_accuracy: did you mean 'val_accuracy'[?]$"),
        ("val_losss", NAMES, "did you mean 'val_loss'[?]$"),
        ("acuracy", NAMES, "did you mean 'accuracy'[?]$"),
        (
            "val_loss",
            NAMES[:5],
            "are loss, accuracy, matrix; it needs validation_data$",
        ),
        ("xyz", NAMES[:3], "^Reads monitors 'xyz', but the results are loss$"),
        ("matrix", NAMES, "^Reads monitors 'matrix', which is not a single number$"),
    ],
)
def test_a_monitored_result_that_no_epoch_has_is_refused(name, names, message):
    with pytest.raises(ValueError, match=message):
        check_monitored([Callback(), Reads(name)], names, ["matrix"])


def test_monitored_results_that_every_epoch_has_are_accepted():
    check_monitored([Reads(name) for name in NAMES], NAMES)


def test_each_callback_is_told_of_the_end_and_the_first_error_is_raised():
    class Ends(Callback):
        told = False

        def on_train_end(self, status):
            self.told = True

    class Fails(Callback):
        def __init__(self, text):
            self.text = text

        def on_train_end(self, status):
            raise ValueError(self.text)

    model = tl.FunctionalModel(lambda w, state, x, training: tl.ModelOutput(x * w), tf.ones([1]))
    trainer, last = tl.Trainer(model, "mse", tl.sgd(0.1)), Ends()
    with pytest.raises(ValueError, match="^first$"):
        trainer.fit(
            (tf.ones([2, 1]), tf.ones([2, 1])), callbacks=[Fails("first"), Fails("second"), last]
        )
    assert last.told
