"""Graphs of layers are divided into parts by the sizes of what layers read and make."""

from __future__ import annotations

import itertools

import keras

from trainlib.training.graph_parts import divide, graphs_within
from trainlib.training.keras_private import graph_of_layers

layers = keras.layers


def stack(*widths, inputs=8, name="l"):
    first = keras.Input((inputs,))
    parts = [layers.Dense(n, name=f"{name}{i}") for i, n in enumerate(widths)]
    return keras.Sequential([first, *parts])


def parts_of(model):
    return divide(graph_of_layers(model))


def names(parts):
    return [[layer.name for layer in part.layers] for part in parts]


def test_equal_layers_are_divided_into_about_the_root_of_their_number():
    parts = parts_of(stack(*[8] * 16))
    sizes = [len(part.calls) for part in parts]
    # 16 values a layer: k parts keep 8 (k - 1) values and have 256 / k in the largest
    best = min(8 * (k - 1) + 16 * -(-16 // k) for k in range(1, 17))
    assert 8 * (len(parts) - 1) + 16 * max(sizes) == best
    assert sum(sizes) == 16


def test_parts_end_where_few_values_are_kept():
    parts = parts_of(stack(64, 2, 64, 2, 64, 2, 64, 2))
    assert all(len(part.outputs) == 1 and part.outputs[0].shape[-1] == 2 for part in parts)
    assert len(parts) > 1


def test_the_last_part_is_not_recomputed_and_the_others_are():
    assert [part.recomputed for part in parts_of(stack(8, 8, 8, 8))][-2:] == [True, False]
    assert [part.recomputed for part in parts_of(stack(1))] == [False]


def test_each_part_reads_what_earlier_ones_made():
    x = first = keras.Input((8,))
    long_way = layers.Dense(8, name="early")(x)
    for i in range(6):
        x = layers.Dense(8, name=f"l{i}")(x)
    x = layers.Add(name="add")([x, long_way])
    model = keras.Model(first, layers.Dense(2, name="outputs")(x))
    known = {id(first)}
    for part in parts_of(model):
        assert {id(x) for x in part.inputs} <= known
        known |= {id(x) for x in part.outputs}
    assert {id(x) for x in model.outputs} <= known
    called = list(itertools.chain(*names(parts_of(model))))
    assert sorted(called) == sorted(layer.name for layer in model.layers[1:])


def test_a_part_that_makes_outputs_is_not_recomputed():
    x = first = keras.Input((8,))
    for i in range(6):
        x = layers.Dense(8, name=f"l{i}")(x)
        if i == 2:
            early = layers.Dense(1, "sigmoid", name="early")(x)
    model = keras.Model(first, [early, layers.Dense(2, name="late")(x)])
    made = {
        name
        for part in parts_of(model)
        if not part.recomputed
        for x in [part]
        for name in names([x])[0]
    }
    assert {"early", "late"} <= made


def test_embeddings_and_inner_graphs_are_parts_by_themselves():
    inner = stack(8, 8, 8, name="inner")
    first = keras.Input((), dtype="int32")
    x = layers.Embedding(10, 8, name="words")(first)
    for layer in (layers.Dense(8, name="a"), layers.Dense(8, name="b"), inner, layers.Dense(8)):
        x = layer(x)
    model = keras.Model(first, layers.Dense(1)(x))
    alone = [
        part for part in parts_of(model) if part.layers[0] in (model.get_layer("words"), inner)
    ]
    assert [(len(part.calls), part.recomputed) for part in alone] == [(1, False), (1, False)]
    assert graphs_within(model) == [graph_of_layers(model), graph_of_layers(inner)]


def test_graphs_of_wrappers_are_not_divided_and_those_of_custom_layers_are():
    wrapped = keras.Sequential([layers.Dense(8), layers.Dense(8)])
    held = keras.Sequential([keras.Input((3, 8)), layers.Dense(8), layers.Dense(8)])

    class Holds(layers.Layer):
        def __init__(self):
            super().__init__()
            self.held = held

        def call(self, x):
            return self.held(x)

    x = first = keras.Input((3, 8))
    model = keras.Model(first, Holds()(layers.TimeDistributed(wrapped)(x)))
    assert graphs_within(model) == [graph_of_layers(model), graph_of_layers(held)]
