"""Every public function and class has a docstring with its arguments, its result and an example."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

import trainlib as tl
from trainlib import api

NAMESPACES = ("callbacks", "data", "interop", "losses", "metrics", "models")


def public():
    """Return the public functions and classes by name."""
    found = {name: getattr(api, name) for name in api.__all__}
    for space in NAMESPACES:
        module = getattr(tl, space)
        found |= {f"{space}.{name}": getattr(module, name) for name in module.__all__}
    return {
        name: x
        for name, x in found.items()
        if not isinstance(x, ModuleType) and (inspect.isclass(x) or inspect.isfunction(x))
    }


def section(text, title):
    """Return the lines of a docstring's section, "" if there is none."""
    match = re.search(rf"^{title}:\n((?:    .*\n?|\n(?=    ))+)", text, re.MULTILINE)
    return match.group(1).rstrip() if match else ""


PUBLIC = public()
PEERS = "Keras|PyTorch|Optax|Paper"
"""What an entry under `Differences:` begins with; "Paper" is the publication or its code."""
ENTRY = re.compile(rf"    ({PEERS})(, ({PEERS}))*: \S.*[^ ]$")
CONTINUATION = re.compile(r"        \S.*")
BANNED = re.compile(
    r"\b(heed|anew|whole number|one's own|a share of|comes to|Differs from|says nothing|in vain)\b"
)
WITHOUT_EXAMPLE = frozenset(
    {
        *("ExperimentResult", "FiniteGuardState", "Gradients", "LossScaleState"),
        *("metrics.AucState", "metrics.ConfusionState", "metrics.PositivesState"),
        *("metrics.R2State", "interop.state_to_optax", "interop.state_to_torch"),
    }
)
"""Results and states, whose factories have the example, and functions of optional libraries."""


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_example(name):
    text = inspect.getdoc(PUBLIC[name]) or ""
    assert ">>> " in text or name in WITHOUT_EXAMPLE


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_docstring_has_no_banned_words(name):
    assert BANNED.findall(inspect.getdoc(PUBLIC[name]) or "") == []


@pytest.mark.parametrize("name", PUBLIC)
def test_differences_are_listed_by_peer(name):
    text = inspect.getdoc(PUBLIC[name]) or ""
    lines = section(text, "Differences").splitlines()
    assert [x for x in lines if not (ENTRY.fullmatch(x) or CONTINUATION.fullmatch(x))] == []
    assert not lines or ENTRY.fullmatch(lines[0])


@pytest.mark.parametrize("name", [name for name, x in PUBLIC.items() if inspect.isfunction(x)])
def test_a_public_function_documents_its_arguments_and_its_result(name):
    function = PUBLIC[name]
    text = inspect.getdoc(function) or ""
    arguments = section(text, "Args")
    signature = inspect.signature(function)
    missing = [p for p in signature.parameters if not re.search(rf"\b{p}\b", arguments)]
    assert missing == []
    if str(signature.return_annotation) not in ("None", "NoReturn"):
        assert "\nReturns:\n" in text
