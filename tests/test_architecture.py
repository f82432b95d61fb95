"""The layers, read off every import: one direction, no cycles, and a pure core."""

from __future__ import annotations

import ast
import functools
import re
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
        "augmentation",
        "user_code",
        "experiment",
        "estimators",
        "tools",
        "report",
        "interop",
        "verify",
    ),
    "cli": ("cli", "__main__"),
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


def undescribed(package: str) -> Iterator[str]:
    """The modules and packages in a package that its docstring does not name."""
    described = re.findall(r"\w+", ast.get_docstring(tree_of(package)) or "")
    for module in SOURCES:
        parent, _, name = module.rpartition(".")
        if parent == package and name not in ("__main__", *described):
            yield module


def test_a_package_describes_its_modules():
    packages = [m for m in SOURCES if SOURCES[m].stem == "__init__"]
    assert [module for package in packages for module in undescribed(package)] == []


def misplaced(module: str) -> Iterator[str]:
    """The imports of a module that are of the public names or of a later layer."""
    own = ORDER.index(layer_of(module))
    for name in sorted(own_imports(module) - {"trainlib"}):  # its version, and where it is
        if package_of(name) in PUBLIC or ORDER.index(layer_of(name)) > own:
            yield f"{module} imports {name}"


def test_a_module_imports_its_own_layer_and_those_above_it():
    assert [line for module in LAYERED for line in misplaced(module)] == []


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


CORE = [m for m in LAYERED if layer_of(m) == "core"]
BELOW_CLI = [m for m in LAYERED if layer_of(m) != "cli"]


def impurities(module: str) -> Iterator[str]:
    """The imports, calls and names of a module that the core does without, with their lines."""
    for name in sorted(imports(module) - own_imports(module)):
        if name.split(".")[0] not in PURE_IMPORTS:
            yield f"{module} imports {name}"
    for node in ast.walk(tree_of(module)):
        text = ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            text = node.func.id if node.func.id in EFFECTS else ""
        elif isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            hidden = text.startswith(("tf.random.", "np.random.")) and "stateless" not in text
            stateful = text in EFFECT_NAMES or hidden and text != "tf.random.experimental"
            text = text if stateful else ""
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            text = ast.unparse(node)
        if text:
            yield f"{module}, line {node.lineno}: {text}"


def test_the_core_is_pure():
    assert [line for module in CORE for line in impurities(module)] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os", "{0} imports os"),
        ("print(1)", "{0}, line 1: print"),
        ("x = tf.Variable(1)", "{0}, line 1: tf.Variable"),
        ("x = tf.random.normal([])", "{0}, line 1: tf.random.normal"),
        ("def f():\n    global x", "{0}, line 2: global x"),
        ("import tensorflow\nx = tf.random.stateless_normal([], [1, 2])", None),
    ],
)
def test_an_impurity_is_found(source, found, monkeypatch, tmp_path):
    path = tmp_path / "impure.py"
    path.write_text(source)
    monkeypatch.setitem(SOURCES, source, path)
    assert list(impurities(source)) == ([] if found is None else [found.format(source)])


def at_import(tree: ast.AST) -> Iterator[str]:
    """The packages that a module imports when it is imported itself: not those in functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (name.split(".")[0] for name in _imports(ast.Module([node], [])))
        yield from at_import(node)


def test_torch_jax_and_optax_are_imported_only_where_they_are_used():
    peers = {"torch", "jax", "optax"}
    found = {module: peers & set(at_import(tree_of(module))) for module in SOURCES}
    assert {module: names for module, names in found.items() if names} == {}


def test_an_import_is_found_where_it_runs_at_once():
    assert set(at_import(ast.parse("try:\n    import jax.numpy\nexcept ImportError: pass"))) == {
        "jax"
    }
    assert set(at_import(ast.parse("class A:\n    from torch import nn"))) == {"torch"}
    assert set(at_import(ast.parse("def f():\n    import optax"))) == set()
    assert set(at_import(ast.parse("if TYPE_CHECKING:\n    import optax"))) == set()


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


def long_lists(module: str) -> Iterator[str]:
    """The functions of a module, besides factories, that have more than eight parameters."""
    for function in functions(module):
        arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        names = [x.arg for x in arguments if x.arg not in ("self", "cls")]
        if len(names) > 8 and function.name not in FACTORIES:
            yield f"{module}.{function.name}: {', '.join(names)}"


def test_a_function_below_the_command_line_has_at_most_eight_parameters():
    assert [line for module in BELOW_CLI for line in long_lists(module)] == []


PROCESSES = ("trainlib.experiment.job_process", "trainlib.experiment.partial_run")
"""Modules that are started as separate processes."""


def process_names(module: str) -> set[str]:
    """What a module uses of the parsers of flags and of the process that runs it."""
    names = {ast.unparse(n) for n in ast.walk(tree_of(module)) if isinstance(n, ast.Attribute)}
    ended = set() if module in PROCESSES else {"sys.argv", "sys.exit", "os._exit"} & names
    return ended | {"absl", "absl.flags", "argparse"} & imports(module)


def test_no_module_below_the_command_line_reads_flags_or_ends_the_process():
    found = {module: process_names(module) for module in BELOW_CLI}
    assert {module: names for module, names in found.items() if names} == {}
