"""The layers, read off every import: one direction, no cycles, and a pure core."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainlib
import trainlib.models as models
import trainlib.registry as registry

ROOT = Path(trainlib.__file__).parent
LAYERS = {
    "core": (
        "core",
        "optimizers",
        "transforms",
        "schedules",
        "losses",
        "metrics",
        "regularizers",
        "constraints",
        "monitors",
        "step",
        "registry",
    ),
    "training": ("training", "callbacks"),
    "experiment": (
        "data",
        "models",
        "user_code",
        "experiment",
        "tools",
        "report",
        "interop",
        "verify",
    ),
    "cli": ("cli",),
}
"""The packages of each layer. A module imports its own layer and the layers above it here."""
PUBLIC = ("api",)
"""The module that collects the public names of all layers but the last."""
PACKAGES = {package: layer for layer, packages in LAYERS.items() for package in packages}
ORDER = list(LAYERS)
PURE_IMPORTS = {"__future__", "collections", "dataclasses", "decimal", "difflib"} | {
    "functools",
    "inspect",
    "itertools",
    "math",
    "numbers",
    "re",
    "types",
    "typing",
    "numpy",
    "tensorflow",
}
"""What the core may import besides itself."""
EFFECTS = ("print", "open", "input", "exec", "eval")
EFFECT_NAMES = ("tf.Variable", "tf.print", "tf.py_function", "tf.numpy_function", "sys.path")


def module_of(path: Path) -> str:
    """The dotted name of a source file; that of a package for its `__init__`."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def package_of(module: str) -> str:
    """The part of a module's name below `trainlib`; "" for `trainlib` itself."""
    return (module.split(".") + [""])[1]


def layer_of(module: str) -> str:
    """The layer of a module's package."""
    return PACKAGES[package_of(module)]


@functools.cache
def tree_of(module: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


@functools.cache
def imports(module: str) -> frozenset[str]:
    """All that a module imports, wherever in it, those under TYPE_CHECKING too."""
    return frozenset(_imports(tree_of(module)))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in SOURCES else node.module


def own_imports(module: str) -> set[str]:
    """The modules of trainlib that a module imports."""
    return {name for name in imports(module) if name in SOURCES and name != module}


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The nodes of a graph that are on a cycle, or between two; [] if there is none."""
    left = {node: set(targets) & set(graph) for node, targets in graph.items()}
    while leaves := [node for node, targets in left.items() if not targets & set(left)]:
        for node in leaves:
            del left[node]
    return sorted(left)


LAYERED = [m for m in SOURCES if package_of(m) and package_of(m) not in PUBLIC]


def test_each_package_has_a_layer():
    assert {package_of(module) for module in LAYERED} == set(PACKAGES)


@pytest.mark.parametrize("module", LAYERED)
def test_a_module_imports_its_own_layer_and_those_above_it(module):
    own = ORDER.index(layer_of(module))
    for name in own_imports(module):
        assert package_of(name) not in PUBLIC, f"{module} imports the public names"
        if name == "trainlib":  # its version, and where it is installed
            continue
        assert ORDER.index(layer_of(name)) <= own, f"{module} imports {name}"


def test_no_module_imports_itself_by_way_of_others():
    graph = {module: own_imports(module) for module in LAYERED}
    assert cycle(graph) == []


def test_no_package_imports_itself_by_way_of_others():
    graph: dict[str, set[str]] = {}
    for module in LAYERED:
        targets = {package_of(name) for name in own_imports(module)} - {package_of(module)}
        graph.setdefault(package_of(module), set()).update(targets)
    assert cycle(graph) == []


def test_a_cycle_is_found():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]
    assert cycle({"a": {"b"}, "b": set()}) == []


@pytest.mark.parametrize("module", [m for m in LAYERED if layer_of(m) == "core"])
def test_the_core_is_pure(module):
    for name in imports(module) - own_imports(module):
        assert name.split(".")[0] in PURE_IMPORTS, f"{module} imports {name}"
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in EFFECTS, f"calls {node.func.id} in line {node.lineno}"
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            hidden = text.startswith(("tf.random.", "np.random.")) and "stateless" not in text
            stateful = text in EFFECT_NAMES or hidden and text != "tf.random.experimental"
            assert not stateful, f"{module}: {text} in line {node.lineno}"
        assert not isinstance(node, (ast.Global, ast.Nonlocal)), f"global in line {node.lineno}"


FACTORIES = {
    *(factory.__name__ for table in registry.KINDS.values() for factory in table.values()),
    *models.MODELS,
    "keras_options",
    "sophia",
}
"""Factories, whose parameters are the hyperparameters: any number of them."""


def functions(module: str) -> Iterator[ast.FunctionDef]:
    """The functions and methods of a module."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef):
            yield node


@pytest.mark.parametrize("module", [m for m in LAYERED if layer_of(m) != "cli"])
def test_a_function_below_the_command_line_has_at_most_eight_parameters(module):
    for function in functions(module):
        arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        names = [x.arg for x in arguments if x.arg not in ("self", "cls")]
        assert len(names) <= 8 or function.name in FACTORIES, f"{function.name}: {names}"


PROCESSES = ("trainlib.experiment.partial_run",)
"""Modules that are started as separate processes."""


@pytest.mark.parametrize("module", [m for m in LAYERED if layer_of(m) != "cli"])
def test_no_module_below_the_command_line_reads_flags_or_ends_the_process(module):
    assert not {"absl", "absl.flags", "argparse"} & imports(module)
    names = {ast.unparse(n) for n in ast.walk(tree_of(module)) if isinstance(n, ast.Attribute)}
    assert module in PROCESSES or not {"sys.argv", "sys.exit", "os._exit"} & names
