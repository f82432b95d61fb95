"""The tables of names, and what they say of a factory's hyperparameters."""

from __future__ import annotations

import inspect

import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.augmentation import AUGMENTATIONS
from trainlib.core.hyperparameters import DECLARED, INPUTS, declared
from trainlib.losses.names import FROM_LOGITS, LOSSES
from trainlib.metrics.names import EXAMPLE_METRICS
from trainlib.models import MODELS
from trainlib.registry import (
    ALIASES,
    KINDS,
    METRICS,
    OPTIMIZERS,
    TRANSFORMS,
    full_name,
    hyperparameters,
    lookup,
    make_metric,
    takes_plain_values,
)

ENTRIES = [(kind, name) for kind, table in KINDS.items() for name in table]
FACTORIES = [
    *((kind, factory) for kind, table in KINDS.items() for factory in table.values()),
    *(("transform", factory) for factory in TRANSFORMS.values()),
    *(("model", factory) for factory in MODELS.values()),
    *(("augmentation", factory) for factory in AUGMENTATIONS.values()),
    ("optimizer", tl.sophia),
]
"""Every factory whose hyperparameters are declared."""
OTHER_NAMES = {"constant": "constant_schedule"}
"""The functions whose names in the registry are not their own."""
REQUIRED = {
    "initial_learning_rate": 0.5,
    "maximal_learning_rate": 1.0,
    "decay_steps": 10,
    "first_decay_steps": 10,
    "total_steps": 10,
    "hold_steps": 10,
    "step_size": 10,
    "step_size_up": 10,
    "steps_per_epoch": 10,
    "warmup_steps": 2,
    "decay_rate": 0.5,
    "boundaries": [10],
    "values": [0.5, 0.25],
    "schedule": lambda epoch: 0.5,
    "schedules": [lambda step: 0.5] * 2,
    "clipvalue": 1.0,
    "clipnorm": 1.0,
    "global_clipnorm": 1.0,
    "learning_rate": 0.01,
    "padding": 1,
    "stddev": 0.1,
    "size": 4,
    "hessian_fn": lambda params, step: params,
    "weight_decay": 0.1,
    "factor": 0.5,
    "every_k": 2,
    "seed": 0,
    "constraint": lambda w: w,
    "optimizer": tl.sgd(),
    "fast": tl.sgd(),
    "optimizers": {"all": tl.sgd()},
    "labels": lambda path: "all",
    **dict.fromkeys(("recall", "precision", "sensitivity", "specificity"), 0.5),
}
"""A value for each hyperparameter that has no default."""
PENALTIES = {"l1": 0.01 * 14, "l2": 0.01 * 50, "l1_l2": 0.0, "orthogonal": 0.01 * 0.96}
"""The penalties on the rows (3, -4) and (4, -3), whose cosine is 24 / 25."""
CLIPPED = {
    "clip_by_value": [1.0, -1.0],
    "clip_by_norm": [0.6, -0.8],
    "clip_by_global_norm": [0.6, -0.8],
    "adaptive_clip": [0.03, -0.04],
}
"""The gradient (3, -4) of a weight that is equal to it, clipped to 1, or to a ratio of 0.01."""


def test_each_entry_is_a_function_of_its_own_name():
    for kind, name in ENTRIES:
        found = lookup(kind, name)
        assert found is KINDS[kind][name]
        assert found.__name__ == OTHER_NAMES.get(name, name)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        entry
        for entry in ENTRIES
        if entry[0] not in ("loss", "metric") and takes_plain_values(lookup(*entry))
    ],
)
def test_each_factory_makes_what_its_kind_promises(kind, name):
    factory = lookup(kind, name)
    made = factory(**{k: REQUIRED[k] for k, h in hyperparameters(factory).items() if h.required})
    params = {"w": tf.constant([[3.0, -4.0]])}
    if kind == "schedule":
        assert (made(0).shape, made(0).dtype) == ((), tf.float32)
        assert 0 < made(2) <= 1
    elif kind == "monitor":
        assert made.update(1.0, made.init(0.1)).epoch == 1
    elif kind == "constraint":
        assert made(params["w"]).shape == [1, 2]
        assert tf.reduce_any(made(params["w"]) != params["w"])
    elif kind == "regularizer":
        penalty = made({"w": tf.constant([[3.0, -4.0], [4.0, -3.0]])})
        assert penalty.shape == [] and float(penalty) == pytest.approx(PENALTIES[name])
    else:
        updates, state = made.update(params, made.init(params), params)
        tf.nest.assert_same_structure(made.init(params), state)
        assert updates["w"].shape == [1, 2]
        assert tf.reduce_any(updates["w"] != 0)
        if kind == "clipping":
            assert updates["w"][0].numpy() == pytest.approx(CLIPPED[name])


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_counts_examples_with_its_defaults(name):
    y_pred = tf.constant([[0.25, 0.75], [0.75, 0.25], [0.25, 0.75]])
    rows = tf.constant([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    by_index = name.startswith(("sparse", "categorical_generalized", "circle"))
    required = [h.name for h in hyperparameters(METRICS[name]).values() if h.required]
    metric = tl.metrics.as_metric(make_metric(name, **{k: REQUIRED[k] for k in required}))
    if name == "ctc":
        y_pred = tf.stack([y_pred] * 3, axis=1)
        rows = tf.constant([[1], [1], [1]])
    record = metric.from_model_output([1, 1, 0] if by_index else rows, y_pred)
    tf.nest.assert_same_structure(metric.empty(2), record)
    assert any(tf.reduce_any(x != 0) for x in record)
    assert metric.compute(record).shape == ([2, 2] if name == "confusion_matrix" else [])


def test_optimizers_need_no_hyperparameters_and_are_public():
    for name, factory in OPTIMIZERS.items():
        assert getattr(tl, name) is factory
        assert not any(h.required for h in hyperparameters(factory).values()), name
        assert isinstance(factory(), tl.Optimizer), name


@pytest.mark.parametrize("kind", KINDS)
def test_losses_metrics_and_factories_are_public(kind):
    for name, function in KINDS[kind].items():
        home = {"loss": tl.losses, "metric": tl.metrics}.get(kind, tl)
        assert getattr(home, OTHER_NAMES.get(name, name)) is function


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_name_is_refused_with_the_nearest_one(kind):
    for name in KINDS[kind]:
        misspelt = name[:-1] + "_" + name[-1]
        message = f"^unknown {kind} '{misspelt}': did you mean '{name}'"
        with pytest.raises(ValueError, match=message):
            lookup(kind, misspelt)


@pytest.mark.parametrize("kind", ALIASES)
def test_short_names_stand_for_names_of_their_kind(kind):
    for short, name in ALIASES[kind].items():
        assert short not in KINDS[kind]
        assert lookup(kind, short) is lookup(kind, short.upper()) is KINDS[kind][name]
    assert full_name("loss", "acc") == "acc"
    assert full_name("optimizer", "mse") == "mse"


def test_keras_short_names_are_known():
    from keras.src import losses, metrics  # the tables are not public

    for kind, table in (("loss", losses.ALL_OBJECTS_DICT), ("metric", metrics.ALL_OBJECTS_DICT)):
        short = {name for name in table if len(name) < 5 and name.islower() and "_" not in name}
        for name in short - {"auc", "sum", "mean", "iou", "io_u", "ctc", "dice"}:
            assert full_name(kind, name) in KINDS[kind], name


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("loss", "acc", "unknown loss 'acc', which is the name of another kind: metric; choose"),
        ("loss", "accuracy", "unknown loss 'accuracy', which is the name of another kind: metric"),
        ("metric", "adam", "unknown metric 'adam', which is the name of another kind: optimizer"),
        ("loss", "MeanSquaredError", "unknown loss .*: did you mean 'mean_squared_error'"),
        ("metric", "MeanIoU", "unknown metric 'MeanIoU': did you mean 'mean_iou'"),
        ("optimizer", "mse", "unknown optimizer 'mse', which is the name of another kind: loss"),
    ],
)
def test_a_message_speaks_of_the_kind_that_was_asked_for(kind, name, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        lookup(kind, name)


def test_what_losses_and_metrics_take_is_declared_as_their_signatures_are():
    for name, loss in LOSSES.items():
        assert (name in FROM_LOGITS) == ("from_logits" in inspect.signature(loss).parameters)
    for name, metric in METRICS.items():
        inputs = list(inspect.signature(metric).parameters)[:2] == ["y_true", "y_pred"]
        assert inputs == (name in EXAMPLE_METRICS), name


def test_make_metric_binds_the_options_of_a_name():
    assert make_metric("acc") is tl.metrics.accuracy
    assert make_metric("binary_accuracy", threshold=0.25)([1], [0.375]).numpy() == [1]
    assert isinstance(make_metric("auc"), tl.metrics.Metric)
    assert make_metric("auc", num_thresholds=7).empty(1).positives.shape == [8, 1]
    with pytest.raises(TypeError, match=r"^metric recall_at_precision needs precision: write "):
        make_metric("recall_at_precision")


@pytest.mark.parametrize("name", ["zzz", "", None, 3, ("adam",)])
def test_a_name_unlike_any_other_is_refused_with_the_list(name):
    with pytest.raises(ValueError) as error:
        lookup("clipping", name)
    names = "clip_by_value, clip_by_norm, clip_by_global_norm, adaptive_clip"
    assert str(error.value) == f"unknown clipping {name!r}: choose from {names}"


def test_lookup_takes_a_table_that_the_registry_does_not_hold():
    assert lookup("model", "mlp", MODELS) is tl.models.mlp
    with pytest.raises(ValueError, match="unknown model 'mpl': did you mean 'mlp'"):
        lookup("model", "mpl", MODELS)


def parameters(factory):
    """The parameters of a factory that its user sets."""
    return [p for p in inspect.signature(factory).parameters.values() if p.name not in INPUTS]


DECLARED_PARAMETERS = [
    (kind, factory, parameter) for kind, factory in FACTORIES for parameter in parameters(factory)
]


def test_every_parameter_of_a_factory_is_declared_with_the_type_of_its_defaults():
    types = {"float": float, "int": int, "bool": bool, "str": str, "ints": tuple, "floats": tuple}
    for kind, factory, parameter in DECLARED_PARAMETERS:
        declaration = declared(kind, factory.__name__, parameter.name)
        place = f"{parameter.name} of {factory.__name__}"
        assert declaration is not None, place
        if declaration.type not in types:
            continue
        if parameter.annotation not in ("Axis", "Mask"):
            assert declaration.optional == ("None" in parameter.annotation), place
        for default in all_defaults(factory, parameter):
            if default is None:
                assert declaration.optional, place
                continue
            assert type(default) is types[declaration.type], place
            if declaration.choices:
                assert default in declaration.choices, place
            if declaration.type in ("float", "int"):
                assert default in declaration.range, place


def all_defaults(factory, parameter):
    """The defaults of a parameter: by each convention, and of the signature."""
    presets = getattr(factory, "conventions", {}).values()
    defaults = [preset[parameter.name] for preset in presets if parameter.name in preset]
    if parameter.default is not inspect.Parameter.empty:
        defaults.append(parameter.default)
    return defaults


ANNOTATIONS = {
    "float": ("float", "ScalarOrSchedule"),
    "int": ("int",),
    "bool": ("bool",),
    "str": ("str",),
    "ints": ("Sequence[int]",),
    "floats": ("Sequence[float]",),
    "axis": ("Axis",),
    "columns": ("str",),
    "structure": ("Mask", "Coefficients", "Sequence[str]", "Tensor", "Schedule", "Labels")
    + ("Sequence[Schedule]", "Callable", "Optimizer", "Mapping"),
}


def test_every_declared_type_agrees_with_the_annotation():
    for kind, factory, parameter in DECLARED_PARAMETERS:
        annotations = ANNOTATIONS[declared(kind, factory.__name__, parameter.name).type]
        assert parameter.annotation.startswith(annotations), (factory, parameter.name)


def test_nothing_is_declared_that_no_factory_takes():
    taken = set()
    for kind, factory, parameter in DECLARED_PARAMETERS:
        own = f"{factory.__name__}.{parameter.name}"
        taken.add((kind, own if own in DECLARED[kind] else parameter.name))
    assert taken == {(kind, name) for kind, table in DECLARED.items() for name in table}


def limits(declaration):
    """Numbers just outside and just inside each bound of a declared range."""
    step = 1 if declaration.type == "int" else 2**-10
    low, above, high, below = declaration.range
    outside = [] if low is None else [low - step]
    outside += [] if above is None else [above]
    outside += [] if high is None else [high + step]
    outside += [] if below is None else [below]
    inside = [] if low is None else [low]
    inside += [] if above is None else [above + step]
    inside += [] if high is None else [high]
    inside += [] if below is None else [below - step]
    return outside, inside


REQUIRED_WITH = {
    "smallest": {"largest": 1.0},
    "largest": {"smallest": 2.0**-20},
    "epsilon": {"eps_root": 0.1},
    "pct_final": {"three_phase": True, "pct_start": 0.0},
    "max_step_size": {"learning_rate": 2**-11},
}
"""What a hyperparameter at the end of its range needs of the others."""


@pytest.mark.parametrize(
    ("kind", "factory"), [item for item in FACTORIES if item[0] not in ("loss", "metric", "model")]
)
def test_factories_accept_what_is_declared_and_refuse_what_is_not(kind, factory):
    names = {parameter.name for parameter in parameters(factory)}
    required = {p.name: REQUIRED[p.name] for p in parameters(factory) if p.default is p.empty}
    for name in sorted(names):
        declaration = declared(kind, factory.__name__, name)
        more = {k: x for k, x in REQUIRED_WITH.get(name, {}).items() if k in names}
        if declaration.choices:
            for choice in declaration.choices:
                factory(**required | {name: choice})
            with pytest.raises(ValueError) as error:
                factory(**required | {name: "?"})
            assert str(error.value).endswith(f": choose from {', '.join(declaration.choices)}")
        if declaration.type in ("float", "int"):
            outside, inside = limits(declaration)
            for value in outside:
                with pytest.raises(ValueError, match=name):
                    factory(**required | more | {name: value})
            if (kind, name) == ("optimizer", "epsilon") and not more:
                continue  # alone in its denominator for most optimizers, where 0 is refused
            for value in inside:
                factory(**required | more | {name: value})


def test_hyperparameters_are_in_the_order_of_the_signature():
    for kind, factory in FACTORIES:
        names = [
            p.name
            for p in parameters(factory)
            if declared(kind, factory.__name__, p.name).type != "structure"
        ]
        assert list(hyperparameters(factory)) == names, factory


def test_hyperparameters_have_the_defaults_of_the_signature_and_a_help():
    for _, factory, parameter in DECLARED_PARAMETERS:
        if (found := hyperparameters(factory).get(parameter.name)) is None:
            continue  # not a plain value
        place = f"{parameter.name} of {factory.__name__}"
        assert found.required == (parameter.default is parameter.empty), place
        assert found.required or found.default == parameter.default, place
        assert found.help[0] != " " and 10 < len(found.help) <= 100, place
        assert not found.help.endswith("."), place


def test_hyperparameters_of_an_undeclared_factory_have_the_types_of_their_defaults():
    def factory(rate: float, times=3, momentum=0.5, *, nesterov=False, form="sum"):
        raise AssertionError("not to be called")

    found = hyperparameters(factory)
    assert [(h.name, h.type, h.default, h.required) for h in found.values()] == [
        ("rate", "float", None, True),
        ("times", "int", 3, False),
        ("momentum", "float", 0.5, False),
        ("nesterov", "bool", False, False),
        ("form", "str", "sum", False),
    ]


def test_a_convention_brings_its_own_defaults():
    assert hyperparameters(tl.sgd, "torch")["learning_rate"].default == 0.001
    assert hyperparameters(tl.sgd)["learning_rate"].default == 0.01
    assert hyperparameters(tl.sgd, "torch")["momentum"].default == 0.0
    with pytest.raises(ValueError, match="unknown convention of sgd 'torhc'.*'torch'"):
        hyperparameters(tl.sgd, "torhc")


@pytest.mark.parametrize(
    ("factory", "name", "text"),
    [
        (tl.sgd, "momentum", "0"),
        (tl.sgd, "learning_rate", "0.01 (torch 0.001)"),
        (tl.adam, "epsilon", "1e-07 (torch, optax and paper 1e-08, textbook 0)"),
        (tl.adam, "bias_form", "folded (torch, optax, paper and textbook corrected)"),
        (tl.muon, "ns_dtype", "None (torch and paper bfloat16)"),
        (MODELS["mlp"], "hidden", "300,100"),
        (tl.exponential_decay, "decay_rate", ""),
        (tl.hold_then_decay, "decay_rate", "0.904837"),
    ],
)
def test_defaults_are_shown_as_values_with_the_conventions_that_differ(factory, name, text):
    assert hyperparameters(factory)[name].default_text == text


def test_the_default_text_is_that_of_the_convention_asked_for():
    assert hyperparameters(tl.sgd, "torch")["learning_rate"].default_text == (
        "0.001 (keras, optax and textbook 0.01)"
    )


def test_the_choices_of_a_convention_are_the_factorys_own():
    found = hyperparameters(tl.radam)["convention"]
    assert found.declaration.choices == ("torch", "optax", "paper")


def test_signatures_show_defaults_and_not_that_the_convention_decides():
    signatures = {factory.__name__: str(inspect.signature(factory)) for _, factory in FACTORIES}
    assert [name for name, text in signatures.items() if "BY_CONVENTION" in text] == []
