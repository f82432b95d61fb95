"""Curves show the numbers of a history, finite or not."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.report import columns, curves, figures

pytest.importorskip("matplotlib")

NAN, INF = float("nan"), float("inf")
HISTORY = [
    {"epoch": 1, "step": 4, "loss": 2.0, "val_loss": 1.5, "accuracy": 0.5, "val_accuracy": 0.6},
    {"epoch": 2, "step": 8, "loss": 1.0, "val_loss": 0.9, "accuracy": 0.7, "val_accuracy": 0.8},
    {"epoch": 3, "step": 12, "loss": 0.5, "val_loss": 1.1, "accuracy": 0.9, "val_accuracy": 0.8},
]


def history(**named):
    """A history with these columns."""
    rows = zip(*named.values(), strict=True)
    return [
        {"epoch": k, "step": 4 * k, **dict(zip(named, row, strict=True))}
        for k, row in enumerate(rows, 1)
    ]


def lines(figure):
    """The lines of a figure by their labels."""
    (axes,) = figure.axes
    return {line.get_label(): line for line in axes.get_lines()}


@pytest.mark.parametrize(
    ("name", "best"), [("loss", "best: 0.9, epoch 2"), ("accuracy", "best: 0.8, epoch 2")]
)
def test_a_learning_curve_is_the_history_with_its_best_epoch_marked(name, best):
    figure = curves.learning_curve(HISTORY, name)
    drawn = lines(figure)
    assert set(drawn) == {"train", "validation", best}
    for label, key in (("train", name), ("validation", f"val_{name}")):
        expected = [[r["epoch"], r[key]] for r in HISTORY]
        np.testing.assert_array_equal(drawn[label].get_xydata(), expected)
    mark = HISTORY[1]["epoch"], HISTORY[1][f"val_{name}"]
    np.testing.assert_array_equal(drawn[best].get_xydata(), [mark])
    (axes,) = figure.axes
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == (name, "epoch", name)
    assert {text.get_text() for text in axes.figure.legends[0].get_texts()} == set(drawn)


def test_train_and_validation_have_the_same_colors_in_each_figure():
    for name in ("loss", "accuracy"):
        drawn = lines(curves.learning_curve(HISTORY, name))
        assert drawn["train"].get_color() == figures.TRAIN
        assert drawn["validation"].get_color() == figures.VALIDATION


def test_without_validation_the_best_epoch_is_that_on_training_data():
    drawn = lines(curves.learning_curve(history(loss=[3.0, 1.0, 2.0]), "loss"))
    assert set(drawn) == {"train", "best: 1, epoch 2"}


def test_a_result_of_unknown_direction_has_no_best_epoch():
    drawn = lines(curves.learning_curve(history(weirdness=[3.0, 1.0]), "weirdness"))
    assert set(drawn) == {"train"}


def test_values_that_are_not_finite_are_crosses_and_gaps():
    figure = curves.learning_curve(history(loss=[2.0, NAN, INF, 1.0]), "loss")
    drawn = lines(figure)
    np.testing.assert_array_equal(drawn["train"].get_ydata(), [2.0, NAN, NAN, 1.0])
    assert list(drawn["train not finite"].get_xdata()) == [2, 3]
    assert list(drawn["best: 1, epoch 4"].get_xdata()) == [4]
    low, high = figure.axes[0].get_ylim()
    assert 0 < low < 1 < 2 < high < 3


def test_a_history_without_a_finite_value_can_be_drawn():
    figure = curves.learning_curve(history(loss=[NAN, INF]), "loss")
    assert set(lines(figure)) == {"train", "train not finite"}
    assert list(figure.axes[0].get_yticks()) == []
    assert "<svg" in figures.as_svg(figure, "loss", "loss")


def test_a_single_epoch_is_a_marker_at_an_integer_tick():
    figure = curves.learning_curve(HISTORY[:1], "loss")
    assert lines(figure)["train"].get_marker() == "o"
    ticks = figure.axes[0].get_xticks()
    assert 1 in ticks and all(x == int(x) for x in ticks)


@pytest.mark.parametrize(
    ("values", "scale"), [([5.0, 0.1], "linear"), ([50.0, 0.1], "log"), ([50.0, -0.1], "linear")]
)
def test_an_axis_is_logarithmic_if_values_differ_by_orders_of_magnitude(values, scale):
    figure = curves.learning_curve(history(loss=values), "loss")
    assert figure.axes[0].get_yscale() == scale


def test_the_learning_rate_is_its_schedule_with_a_marker_at_the_end_of_each_epoch():
    positions, rates = np.linspace(0.25, 2, 8), np.linspace(0.1, 0.01, 8)
    figure = curves.learning_rate_curve(history(learning_rate=[0.06, 0.01]), (positions, rates))
    drawn = lines(figure)
    np.testing.assert_array_equal(drawn["schedule"].get_xydata(), np.c_[positions, rates])
    ends = drawn["end of an epoch"]
    np.testing.assert_array_equal(ends.get_xydata(), [[1, 0.06], [2, 0.01]])
    assert ends.get_linestyle() == "None"
    assert figure.axes[0].get_ylim() == pytest.approx((0, 0.112))


def test_all_norms_are_in_one_figure():
    given = history(loss=[1.0, 1.0], gradient_norm=[3.0, 2.0], update_norm=[0.03, 0.0])
    assert columns.result_names(given) == ["loss"]
    drawn = lines(curves.norm_curves(given))
    assert set(drawn) == {"gradient", "update"}
    np.testing.assert_array_equal(drawn["gradient"].get_ydata(), [3.0, 2.0])


def test_each_run_of_a_comparison_has_one_color():
    runs = {"a": HISTORY, "_b$x^$": HISTORY[:2]}
    figure = curves.comparison_curves(runs, "loss")
    (axes,) = figure.axes
    drawn = [line for line in axes.get_lines() if len(line.get_xdata())]
    expected = [("val_loss", "-", 3), ("loss", ":", 3), ("val_loss", "-", 2), ("loss", ":", 2)]
    for line, (key, style, count) in zip(drawn, expected, strict=True):
        assert list(line.get_ydata()) == [r[key] for r in HISTORY[:count]]
        assert line.get_linestyle() == style
    colors = [line.get_color() for line in drawn]
    assert colors[0] == colors[1] != colors[2] == colors[3]
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["a", "./_b$x^$", "validation", "train"]
    assert "./_b$x^$" in figures.as_svg(figure, "loss", "loss")


def test_twenty_runs_can_be_distinguished():
    runs = {f"run {k}": HISTORY for k in range(20)}
    (axes,) = curves.comparison_curves(runs, "loss").axes
    looks = {(x.get_color(), x.get_marker()) for x in axes.get_lines() if len(x.get_xdata())}
    assert len(looks) == 20
