"""A page is one valid file, and shows the names that users chose verbatim."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest

from trainlib.report import figures, page, tables

VOID = {"meta", "br", "img"}


class Checker(HTMLParser):
    """Parser that raises at tags that are not nested."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.ids, self.references = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.note(attrs)

    def handle_startendtag(self, tag, attrs):
        self.note(attrs)

    def note(self, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src") and not value.startswith("data:"):
                self.references.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parse_strictly(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert "http:" not in text and "https:" not in text and "<script" not in text
    assert all(x.startswith("#") and x[1:] in checker.ids for x in checker.references)
    assert len(set(checker.ids)) == len(checker.ids)
    return checker


MARKUP = "<b>&\"'$x$"


def test_every_part_escapes_what_it_shows():
    parts = [
        page.heading(MARKUP, page.Provenance(MARKUP, MARKUP), MARKUP),
        page.key_results([(MARKUP, MARKUP)]),
        page.advice([MARKUP]),
        page.image_sheet({MARKUP: [""]}, [[MARKUP]]),
        page.section(
            MARKUP,
            page.subsection(MARKUP, page.note(MARKUP)),
            page.description_list([(MARKUP, MARKUP)]),
            page.collapsed(MARKUP, page.note(MARKUP)),
        ),
        tables.table([MARKUP, "n"], [[MARKUP, 1.5], [tables.WrappedText(MARKUP), 2]], {(0, 0)}),
        page.example_images([page.ExampleImage("", [MARKUP, MARKUP], MARKUP)]),
        page.code_lines([MARKUP]),
    ]
    checker = parse_strictly(page.document(MARKUP, parts))
    assert checker.text.count(MARKUP) == 23


def test_a_link_leads_to_a_file_whose_name_is_quoted():
    assert page.link(MARKUP, "a b/<c>") == (
        '<p><a href="a%20b/%3Cc%3E">&lt;b&gt;&amp;&quot;&#x27;$x$</a></p>'
    )


def test_figures_take_the_colors_of_the_page_and_share_no_ids():
    pytest.importorskip("matplotlib")
    drawn = {}
    for name in ("loss", "accuracy"):
        figure, axes = figures.new_figure(name, "epoch", name)
        axes.plot([1, 2], [2, 1], color=figures.TRAIN, marker="o", label="train")
        figures.add_legend(axes)
        drawn[name] = figure
    text = page.document("two", [page.figure_grid(drawn.items())])
    parse_strictly(text)
    assert text.count("<svg ") == 2
    body = text[text.index("<body>") :]
    for name, color in figures.THEME.items():
        assert f"--{name}: {color.light};" in text and f"--{name}: {color.dark};" in text
        assert color.light not in body
    for name in ("train", "ink", "muted", "line"):
        assert f"var(--{name})" in body
    assert "prefers-color-scheme: dark" in text


def test_all_colors_differ():
    for scheme in ("light", "dark"):
        colors = [getattr(color, scheme) for color in figures.THEME.values()]
        assert len(set(colors)) == len(colors)


def test_a_section_without_parts_is_empty():
    assert page.section("empty", "", "") == ""
    assert page.figure_grid([]) == ""
    assert "<section" not in page.document("t", [page.section("empty")])


def test_numbers_have_four_digits_and_are_right_aligned():
    text = tables.table(["name", "x"], [["a", 0.123456789], ["b", ""]], {(0, 1)})
    assert '<td>a</td><td class="number"><strong>0.1235</strong></td>' in text
    assert '<th scope="col" class="number">x</th>' in text


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ([0.9, 0.25, 1.0], ["0.9000", "0.2500", "1.0000"]),
        ([12.0, 7.5], ["12.00", "7.50"]),
        ([25.0, 3.0, 1243.0], ["25", "3", "1243"]),
        ([0.0004321, 0.5], ["0.0004321", "0.5"]),
        ([1e-9, float("nan")], ["1e-09", "-"]),
        ([0.0], ["0"]),
    ],
)
def test_the_numbers_of_a_column_have_the_same_decimals(numbers, texts):
    text = tables.table(["x"], [[x] for x in numbers])
    assert re.findall('"number">([^<]*)</td>', text) == texts


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (1.29, 0.0638, "1.290 ± 0.064"),
        (2.0, 0.5, "2.00 ± 0.50"),
        (123.4, 12.3, "123 ± 12"),
        (0.5, 0.0, "0.5 ± 0"),
        (0.123456, math.nan, "0.1235"),
        (0.5, 1e-9, "0.5 ± 1e-09"),
    ],
)
def test_a_number_has_the_decimals_of_its_spread(value, spread, text):
    assert tables.with_spread(value, spread) == text
