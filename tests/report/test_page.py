"""The page is whole, of one file, and shows what users named as they named it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from trainlib.report import page, plots

VOID = {"meta", "br", "img"}


class Checker(HTMLParser):
    """Raises at a tag that is closed in another order than it was opened."""

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


def checked(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert "http:" not in text and "https:" not in text and "<script" not in text
    assert all(x.startswith("#") and x[1:] in checker.ids for x in checker.references)
    assert len(set(checker.ids)) == len(checker.ids)
    return checker


UGLY = "<b>&\"'$x$"


def test_every_part_escapes_what_it_shows():
    parts = [
        page.heading(UGLY, UGLY, UGLY),
        page.section(UGLY, page.facts([(UGLY, UGLY)]), page.folded(UGLY, page.note(UGLY))),
        page.table([UGLY, "n"], [[UGLY, 1.5], [page.Words(UGLY), 2]], {(0, 0)}),
        page.examples([("", [UGLY, UGLY], UGLY)]),
        page.lines_of_code([UGLY]),
    ]
    checker = checked(page.document(UGLY, parts))
    assert checker.text.count(UGLY) == 15


def test_pictures_follow_the_scheme_of_the_page_and_share_no_names():
    pytest.importorskip("matplotlib")
    drawn = {}
    for name in ("loss", "accuracy"):
        figure, axes = plots.picture(name, "epoch", name)
        axes.plot([1, 2], [2, 1], color=plots.TRAIN, marker="o", label="train")
        plots.legend(axes)
        drawn[name] = figure
    text = page.document("two", [page.pictures(drawn.items())])
    checked(text)
    assert text.count("<svg ") == 2
    body = text[text.index("<body>") :]
    for name, color in plots.THEME.items():
        assert f"--{name}: {color.light};" in text and f"--{name}: {color.dark};" in text
        assert color.light not in body
    for name in ("train", "ink", "muted", "line"):
        assert f"var(--{name})" in body
    assert "prefers-color-scheme: dark" in text


def test_colours_are_all_different():
    for scheme in ("light", "dark"):
        colors = [getattr(color, scheme) for color in plots.THEME.values()]
        assert len(set(colors)) == len(colors)


def test_a_section_without_parts_is_nothing():
    assert page.section("empty", "", "") == ""
    assert page.pictures([]) == ""
    assert "<section" not in page.document("t", [page.section("empty")])


def test_numbers_are_short_and_stand_at_the_right():
    text = page.table(["name", "x"], [["a", 0.123456789], ["b", ""]], {(0, 1)})
    assert '<td>a</td><td class="number"><strong>0.1235</strong></td>' in text
    assert '<th class="number">x</th>' in text
