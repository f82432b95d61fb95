"""The reference covers the whole public API, with the defaults that calls have."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import tensorflow as tf
from helpers.reference import DOCS, REFERENCE, docs_module

import trainlib as tl
import trainlib.api as api

PAGES = REFERENCE.pages()
ALL = "".join(PAGES.values())


def test_every_public_name_has_a_section_or_sections_of_its_members():
    ends = {name: "." if inspect.ismodule(getattr(tl, name)) else "\n" for name in api.__all__}
    assert [name for name, end in ends.items() if f"\n::: trainlib.{name}{end}" not in ALL] == []


def test_a_name_has_one_section_and_a_link_in_the_contents():
    sections = re.findall(r"^::: (.+)$", ALL, re.MULTILINE)
    links = re.findall(r"\]\[([^]]+)\]", REFERENCE.contents())
    assert len(set(sections)) == len(sections)
    assert links == sections


def test_every_picture_exists():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", ALL)
    assert pictures and all((DOCS / "reference" / picture).exists() for picture in pictures)


def test_defaults_are_shown_for_every_convention():
    section = ALL.split("\n::: trainlib.adagrad\n")[1].split("\n::: ")[0]
    assert "| default of | keras | torch | optax | paper | textbook |" in section
    assert "| `epsilon` | `1e-07` | `1e-10` | `1e-07` | `1e-07` | `1e-10` |" in section


def described(value):
    """Return what griffe knows of a function or a class, with the extension."""
    griffe = pytest.importorskip("griffe")
    file = Path(inspect.getfile(inspect.unwrap(value)))
    module = griffe.visit(value.__module__, filepath=file, code=file.read_text(encoding="utf-8"))
    extension, found = docs_module("griffe_names").RuntimeNames(), module[value.__name__]
    extension.on_object(obj=found)
    if found.is_class:
        extension.on_class(cls=found)
        return found["__init__"]
    extension.on_function(func=found)
    return found


def test_a_signature_has_the_defaults_of_a_call():
    parameters = described(tl.adagrad).parameters
    assert parameters["epsilon"].default == "1e-07"
    assert parameters["epsilon_place"].default == '"inside"'
    assert str(parameters["epsilon"].annotation) == "float"


def test_a_class_has_the_signature_of_its_call():
    parameters = described(tl.Trainer).parameters
    assert parameters["seed"].default == "0"
    assert parameters["regularizer_mask"].default == "kernels"
    assert parameters["autotuner"].default == "Autotuner()"
    fields = described(tl.registry.Hyperparameter).parameters
    assert str(fields["defaults"].annotation) == "Mapping[str, Any]"


def test_an_example_is_a_section():
    kinds = [section.kind.value for section in described(tl.adagrad).docstring.parse("google")]
    assert kinds == [
        "text", "parameters", "returns", "raises", "examples", "admonition", "admonition",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("default", "text"),
    [(tf.float32, "tf.float32"), ("sum", '"sum"'), (tl.kernels, "kernels"), (object(), "...")],
)
def test_a_default_is_shown_as_you_would_write_it(default, text):
    assert REFERENCE.default_text(default) == text
