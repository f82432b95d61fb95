"""Random configurations: what is accepted trains, resumes, evaluates and predicts; the rest is not.

What is refused is refused before a file is written.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st

import trainlib as tl
from trainlib.core.hyperparameters.declaration import Declaration
from trainlib.experiment.functions import FUNCTIONS, takes, type_of
from trainlib.experiment.resume import resumed_config

LEFT_OUT = ("module", "convention")
SMALL_MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": (4,)},
    "perceptron": {},
    "wide_deep": {"hidden": (4,)},
}


def values_of(declared: Declaration, kind: str) -> st.SearchStrategy[Any]:
    """Return values that a declaration allows, at the ends of its range and around its middle."""
    if declared.choices:
        return st.sampled_from(declared.choices)
    low = declared.range.lowest if kind == "int" else declared.range.at_least
    top = declared.range.at_most
    if kind == "bool":
        return st.booleans()
    if kind == "int":
        return st.integers(int(low or 0), min(int(top or 50), int(low or 0) + 50))
    numbers = [x for x in (low, top, 0.5, 0.9, 1.0, 2.0) if x is not None]
    return st.sampled_from([x for x in map(float, numbers) if x in declared.range] or [1.0])


@st.composite
def functions(draw: st.DrawFn, kind: str) -> tl.FunctionConfig:
    """Draw a function of a kind, with up to three of its hyperparameters."""
    name = draw(st.sampled_from(sorted(FUNCTIONS[kind])))
    known = {
        h: x
        for h, x in takes(kind, name).items()
        if type_of(x) in ("int", "float", "bool", "str") and x.declaration and h not in LEFT_OUT
        if type_of(x) != "str" or x.declaration.choices
    }
    required = [h for h, x in known.items() if x.required]
    chosen = (
        draw(st.lists(st.sampled_from(sorted(known)), max_size=3, unique=True)) if known else []
    )
    names = dict.fromkeys([*required, *chosen])
    drawn = {h: draw(values_of(known[h].declaration, type_of(known[h]))) for h in names}
    return tl.FunctionConfig(name, drawn)


@st.composite
def settings_of_runs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the settings of a small experiment on digits."""
    model = draw(st.sampled_from(sorted(SMALL_MODELS)))
    return {
        "model": tl.FunctionConfig(model, SMALL_MODELS[model]),
        "optimizer": draw(functions("optimizer")),
        "schedule": draw(st.one_of(st.just("constant"), functions("schedule"))),
        "regularizer": draw(st.one_of(st.none(), functions("regularizer"))),
        "constraint": draw(st.one_of(st.none(), functions("constraint"))),
        "clipping": draw(st.one_of(st.none(), functions("clipping"))),
        "metrics": [draw(functions("metrics"))] if draw(st.booleans()) else "auto",
        "batch_size": draw(st.sampled_from([1, 7, 16, 64])),
        "gradient_accumulation_steps": draw(st.sampled_from([1, 1, 2, 5])),
        "nonfinite": draw(st.sampled_from(["epoch", "stop", "skip", "none"])),
        "precision": draw(st.sampled_from([None, None, "float64", "mixed_bfloat16"])),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "epochs": 2,
        "execution": "graph",
        "report": False,
        "data": tl.DataConfig(
            train_examples=draw(st.sampled_from([16, 33])),
            validation_split=draw(st.sampled_from([0.0, 0.25])),
        ),
    }


@examples(3, 500)
@given(settings_of_runs())
def test_what_is_accepted_does_all_that_a_run_does_and_the_rest_writes_nothing(chosen):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            config = tl.ExperimentConfig(**chosen)
            result = tl.run_experiment(config, folder / "run")
        except (ValueError, TypeError) as error:
            assert str(error) and not list(folder.iterdir())
            return
        except FloatingPointError:  # its numbers are not finite
            return
        assert_resumes(config, folder, result)


def assert_resumes(config: tl.ExperimentConfig, folder: Path, result: Any) -> None:
    """Assert that a run that is stopped and resumed ends, and predicts, as the whole one."""
    stop = [tl.callbacks.StopAfter(2)]
    stopped = tl.run_experiment(config, folder / "parts", callbacks=stop)
    if not stopped.is_finished:
        again = resumed_config(folder / "parts", {})
        stopped = tl.run_experiment(again, folder / "parts", resume=True)
    assert stopped.params_sha256 == result.params_sha256
    predicted = result.model.predict(np.zeros((2, 8, 8)), verbose=0)
    found = stopped.model.predict(np.zeros((2, 8, 8)), verbose=0)
    assert np.array_equal(predicted, found, equal_nan=True)
    assert set(result.test) == set(stopped.test)
