"""Every public function and class has a docstring with its arguments, its result and an example."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import trainlib as tl
from trainlib import api

NAMESPACES = ("callbacks", "data", "estimators", "interop", "losses", "metrics", "models")


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
        *("Comparison", "EnsembleResult", "ExperimentResult", "TrialResult", "TuneResult"),
        "Exported",
        *("CrossValidationResult", "FoldResult"),
        *("FiniteGuardState", "Gradients", "LossScaleState"),
        *("KerasMetricState", "metrics.ConfusionState", "metrics.CorrelationState"),
        *("metrics.HistogramState", "metrics.OverlapState", "metrics.PositivesState"),
        *("metrics.R2State", "interop.state_to_optax", "interop.state_to_torch"),
    }
)
"""Results and states, whose factories have the example, and functions of optional libraries."""


def test_each_public_name_has_an_example():
    without = {name for name, x in PUBLIC.items() if ">>> " not in (inspect.getdoc(x) or "")}
    assert without <= WITHOUT_EXAMPLE


def test_no_public_docstring_has_banned_words():
    found = {name: BANNED.findall(inspect.getdoc(x) or "") for name, x in PUBLIC.items()}
    assert {name: words for name, words in found.items() if words} == {}


def unlisted(function):
    """Return the lines of the section on differences that neither begin nor continue an entry."""
    lines = section(inspect.getdoc(function) or "", "Differences").splitlines()
    bad = [x for x in lines if not (ENTRY.fullmatch(x) or CONTINUATION.fullmatch(x))]
    return bad or [x for x in lines[:1] if not ENTRY.fullmatch(x)]


def test_differences_are_listed_by_peer():
    found = {name: unlisted(x) for name, x in PUBLIC.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def undocumented(function):
    """Return the arguments of a function that its docstring lacks, and "Returns" if that does."""
    text = inspect.getdoc(function) or ""
    arguments = section(text, "Args")
    signature = inspect.signature(function)
    missing = [p for p in signature.parameters if not re.search(rf"\b{p}\b", arguments)]
    returns = str(signature.return_annotation) not in ("None", "NoReturn")
    return missing + (["Returns"] if returns and "\nReturns:\n" not in text else [])


def test_each_public_function_documents_its_arguments_and_its_result():
    found = {name: undocumented(x) for name, x in PUBLIC.items() if inspect.isfunction(x)}
    assert {name: missing for name, missing in found.items() if missing} == {}


def test_an_argument_or_a_result_without_its_lines_is_found():
    def function(a, b) -> int:
        """Add.

        Args:
            a: The first.
        """

    assert undocumented(function) == ["b", "Returns"]
