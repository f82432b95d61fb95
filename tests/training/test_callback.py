"""What a callback may be, and what it may return."""

from __future__ import annotations

import pytest

from trainlib.callbacks import (
    Callback,
    RollBack,
    Save,
    SetHyperparams,
    SetWeights,
    Stop,
    TrainingStatus,
)
from trainlib.training.callback import as_callback, as_requests

FACTS = TrainingStatus(2, 3, 10, 10, 20, [{"loss": 1.0}, {"loss": 0.5}], dict, state=None)
REQUESTS = [Stop("no"), Save(), SetHyperparams({"a": 1.0}), SetWeights({}, {}), RollBack("no")]


def test_the_results_are_those_of_the_last_epoch():
    assert FACTS.results == {"loss": 0.5}
    assert FACTS._replace(history=[]).results == {}


def test_a_function_is_called_after_each_epoch_alone():
    told = []
    callback = as_callback(lambda status: told.append(status) or Stop("enough"))
    for moment in ("on_train_begin", "on_train_batch_end", "on_test_batch_end", "on_train_end"):
        assert getattr(callback, moment)(FACTS) is None
    assert told == []
    assert callback.on_epoch_end(FACTS) == Stop("enough")
    assert told == [FACTS]


def test_a_callback_stays_as_it_is():
    callback = Callback()
    assert as_callback(callback) is callback


@pytest.mark.parametrize("wrong", [None, 3, "early_stop", Callback])
def test_what_is_no_callback_is_refused(wrong):
    with pytest.raises(TypeError, match="^a callback must be a Callback or a function"):
        as_callback(wrong)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: type(r).__name__)
def test_a_request_may_come_alone_or_among_others(request_):
    assert list(as_requests(Callback(), request_)) == [request_]
    assert list(as_requests(Callback(), [request_, Save()])) == [request_, Save()]


def test_nothing_asks_for_nothing():
    assert list(as_requests(Callback(), None)) == []
    assert list(as_requests(Callback(), [])) == []


@pytest.mark.parametrize("wrong", [True, "stop", [Save(), None], {"stop": True}])
def test_anything_else_is_refused_with_the_name_of_the_callback(wrong):
    def mine(status):
        return wrong

    with pytest.raises(TypeError, match="^callback mine must return None or requests such as"):
        as_requests(as_callback(mine), wrong)
    with pytest.raises(TypeError, match="^callback Callback must return None"):
        as_requests(Callback(), wrong)
