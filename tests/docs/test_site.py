"""The site: its links, and that MkDocs builds it without a warning."""

from __future__ import annotations

import html
import inspect
import re
from pathlib import Path

import pytest
from helpers.reference import REFERENCE

ROOT = Path(__file__).parents[2]
NETWORK = re.compile(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?(https?://[^"' >]+)""")


@pytest.mark.soak
def test_nothing_is_loaded_from_the_network(site):
    for page in site.rglob("*.html"):
        found = set(NETWORK.findall(page.read_text(encoding="utf-8")))
        assert not found, f"{page.relative_to(site)}: {found}"


@pytest.mark.soak
def test_links_between_pages_lead_to_anchors_that_exist(site):
    anchors = {
        page.relative_to(site): set(re.findall(r'\sid="?([^" >]+)', page.read_text("utf-8")))
        for page in site.rglob("*.html")
    }
    missing = []
    for page in site.rglob("*.html"):
        for target, anchor in re.findall(r'href="([^":#]*)#([^"]+)"', page.read_text("utf-8")):
            to = (page.parent / target).resolve() if target else page
            if to.suffix == ".html" and anchor not in anchors[to.relative_to(site.resolve())]:
                missing.append(f"{page.relative_to(site)}: {target}#{anchor}")
    assert missing == []


@pytest.mark.soak
def test_every_public_name_is_in_the_reference_and_in_the_search(site):
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    for topic, entries in REFERENCE.by_topic().items():
        page = (site / topic.page).with_suffix(".html").read_text(encoding="utf-8")
        sections = re.split(r'<h2 id="([^"]+)" class="doc', page)
        sections = dict(zip(sections[1::2], sections[2::2], strict=True))
        assert list(sections) == [entry.path for entry in entries]
        for entry in entries:
            assert f'"{entry.name}"' in index
            if inspect.isfunction(entry.value):
                assert "doc-signature" in sections[entry.path], entry.name
        text = html.unescape(re.sub("<[^>]+>", "", page))
        for leak in ("BY_CONVENTION", " at 0x", "<factory>", "ForwardRef", "*args, **kwargs"):
            assert leak not in text, (topic.title, leak)


def test_the_license_of_each_library_is_beside_it():
    for folder in (ROOT / "docs" / "assets").iterdir():
        if folder.is_dir():
            assert (folder / "LICENSE").is_file(), folder.name


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"[\w/]+\.md$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    pages -= {page for page in pages if page.endswith(".in.md")}
    assert pages <= listed
