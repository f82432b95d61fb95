"""The reference is generated from the code, and covers the whole public API."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import pytest
import tensorflow as tf

import trainlib as tl
import trainlib.api as api

DOCS = Path(__file__).parents[2] / "docs"
MADE = runpy.run_path(str(DOCS / "reference.py"))
PAGE = (DOCS / "reference.md").read_text(encoding="utf-8")


def anchor(heading):
    """Return the end of a link to a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_page_is_what_the_code_says():
    assert MADE["reference"]() == PAGE


def test_every_public_name_has_a_section_or_sections_of_its_members():
    ends = {name: "." if inspect.ismodule(getattr(tl, name)) else "\n" for name in api.__all__}
    assert [name for name, end in ends.items() if f"\n### tl.{name}{end}" not in PAGE] == []


def test_the_contents_link_to_every_section():
    contents = PAGE.split("## Contents")[1].split("\n## ")[0]
    links = re.findall(r"\]\(#([^)]+)\)", contents)
    headings = re.findall(r"^###? (.+)$", PAGE, re.MULTILINE)
    assert len(set(links)) == len(links)
    assert set(links) == {anchor(heading) for heading in headings if heading != "Contents"}


def test_every_picture_exists():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGE)
    assert pictures and all((DOCS / picture).exists() for picture in pictures)


@pytest.mark.parametrize(
    "leak", ["=by convention", "BY_CONVENTION", " at 0x", "<factory>", "ForwardRef"]
)
def test_signatures_show_no_placeholders(leak):
    assert leak not in PAGE


def test_defaults_are_shown_as_numbers_for_every_convention():
    section = PAGE.split("\n### tl.adagrad\n")[1].split("\n### ")[0]
    assert "    epsilon: float = 1e-07,\n" in section
    assert "| default of | keras | torch | optax | paper | textbook |" in section
    assert "| `epsilon` | `1e-07` | `1e-10` | `1e-07` | `1e-07` | `1e-10` |" in section


def test_signatures_break_where_they_are_long_and_name_their_defaults():
    def short(x, *, form="sum", dtype=tf.float32):
        raise AssertionError("not to be called")

    def long(
        first_number: float,
        second_number: float = 0.5,
        *rest: int,
        third: str = "c",
        **all_others: int,
    ):
        raise AssertionError("not to be called")

    assert MADE["signature_text"](short) == '(x, *, form="sum", dtype=tf.float32)'
    assert MADE["signature_text"](long) == (
        "(\n    first_number: float,\n    second_number: float = 0.5,\n    *rest: int,\n"
        '    third: str = "c",\n    **all_others: int,\n)'
    )


def test_docstrings_become_markdown():
    docstring = """Return it.

    x = y

Args:
    x, y: two numbers; the
        second is larger.
    **more: others.

Returns:
    The result.

Example:
    >>> 1 + 1
    2
"""
    assert MADE["markdown"](docstring) == (
        "Return it.\n\n    x = y\n\n"
        "**Args**\n\n- `x, y`: two numbers; the\n  second is larger.\n- `**more`: others.\n\n"
        "**Returns**\n\nThe result.\n\n"
        "**Example**\n\n```python\n>>> 1 + 1\n2\n```"
    )
