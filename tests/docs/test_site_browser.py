"""The site in a real browser: each kind of page, wide and narrow, light and dark; the search."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
from pathlib import Path

import pytest
from helpers.browser import find_browser

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(find_browser() is None, reason="needs Chromium or Chrome"),
]

ROOT = Path(__file__).parents[2]
PAGES = (
    "index", "readme", "workflows", "tutorial/first_model", "tutorial/schedules", "guides/serve",
    "guides/preemption", "concepts/optimizers", "concepts/losses", "concepts/precision",
    "migration/keras", "reference/index", "reference/optimizers", "verification", "speed", "peers",
    "augmentation", "runs", "build", "changelog",
)  # fmt: skip

CHECK = """
(() => {
  const problems = [], add = (what, node) =>
    problems.push(what + ': ' + (node.textContent || node.outerHTML).trim().slice(0, 60));
  const width = document.documentElement.scrollWidth;
  if (width > WIDTH) problems.push('the page is ' + width + ' pixels wide');
  if (!document.title || document.documentElement.lang !== 'en') problems.push('title or lang');
  const article = document.querySelector('article');
  if (article.querySelectorAll('h1').length !== 1) problems.push('one h1');
  for (const x of document.images) if (!x.alt) add('an image without a text', x);
  for (const x of document.images)
    if (x.complete && !x.naturalWidth) add('a picture that is not there', x);
  for (const x of document.querySelectorAll('.arithmatex'))
    if (!x.querySelector('.katex') || x.querySelector('.katex-error')) add('equation', x);
  const scheme = document.body.getAttribute('data-md-color-scheme');
  if (scheme !== (DARK ? 'slate' : 'default')) problems.push('the scheme is ' + scheme);

  const parse = text => {
    const [r, g, b, a] = text.match(/[0-9.]+/g).map(Number);
    return [r, g, b, a === undefined ? 1 : a];
  };
  const over = (top, below) =>
    [0, 1, 2].map(k => top[k] * top[3] + below[k] * (1 - top[3])).concat(1);
  const paper = node => {
    const layers = [];
    for (let x = node; x; x = x.parentElement)
      layers.push(parse(getComputedStyle(x).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const luminance = rgb => {
    const [r, g, b] = rgb.slice(0, 3).map(x => x / 255)
      .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const shown = [...article.querySelectorAll('*')].filter(x =>
    [...x.childNodes].some(y => y.nodeType === 3 && y.nodeValue.trim())
    && x.getClientRects().length && !x.closest('.katex-mathml, .headerlink, .md-annotation'));
  const seen = new Set();
  for (const x of shown) {
    const style = getComputedStyle(x), size = parseFloat(style.fontSize);
    const below = paper(x), color = over(parse(style.color), below);
    const [a, b] = [luminance(color), luminance(below)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const key = x.tagName + x.className + style.color;
    if (contrast < (size >= 24 ? 3 : 4.5) && !seen.has(key)) {
      seen.add(key);
      add('contrast ' + contrast.toFixed(1) + ' of ' + x.tagName + '.' + x.className, x);
    }
    if (size < 10 && !x.closest('.katex')) add('text of ' + style.fontSize, x);
  }
  for (const x of article.querySelectorAll('img'))
    if (luminance(paper(x)) < 0.7) add('a picture on a dark ground', x);
  return problems;
})()
"""

SEARCH = """
(async () => {
  const field = document.querySelector('.md-search__input');
  const read = () => [...document.querySelectorAll('.md-search-result__link')]
    .map(x => new URL(x.href).pathname);
  document.querySelector('#__search').checked = true;
  field.focus();
  const found = {};
  const type = async (words, isDone) => {
    field.value = words;
    field.dispatchEvent(new Event('keyup', {bubbles: true}));
    let before = null;
    for (let k = 0; k < 100; ++k) {
      await new Promise(r => setTimeout(r, 30));
      const now = JSON.stringify(read());
      if (isDone(now, before)) return;
      before = now;
    }
  };
  for (const words of QUERIES) {
    await type('', now => now === '[]');  // so that the results are not those of the words before
    await type(words, (now, before) => now !== '[]' && now === before);
    found[words] = [...new Set(read())].slice(0, 15);  // the first pages
  }
  return found;
})()
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture(scope="module")
def address(site):
    """The address of the site on this machine: the search needs a server."""
    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # the browser leaves a page before it is read
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_the_screen_and_can_be_read(page, width, scheme, address, browser):
    browser.open(f"{address}/robots.txt", width, scheme)
    browser.evaluate("localStorage.clear()")  # the scheme of the page before; this one has none
    browser.open(f"{address}/{page}.html", width, scheme)
    check = CHECK.replace("WIDTH", str(width)).replace("DARK", str(scheme == "dark").lower())
    assert browser.evaluate(check) == []
    complaints = [json.dumps(x) for x in browser.complaints()]
    assert [x for x in complaints if "favicon.ico" not in x] == []


def tasks():
    """Return the words to search for, and the page that answers them, of each workflow."""
    text = (ROOT / "docs" / "workflows.md").read_text(encoding="utf-8")
    found = {}
    for row in re.findall(r"^\| (?!technique|---)(.+?) \| .* \| (.+?) \|$", text, re.M):
        words = re.split(r"[:;,(]", row[0].replace("`", ""))[0]
        found[words] = re.findall(r"\]\(([\w/]+)\.md", row[1])
    return found


def test_a_search_finds_each_task_of_the_workflows(address, browser):
    browser.open(f"{address}/index.html", 1280, "light")
    queries = tasks()
    assert len(queries) > 100
    results = browser.evaluate(SEARCH.replace("QUERIES", json.dumps(list(queries))))
    missed = {
        words: results[words]
        for words, pages in queries.items()
        if not any(f"/{page}.html" in results[words] for page in [*pages, "workflows"])
    }
    assert missed == {}


def test_a_field_filters_the_rows_of_a_long_table(address, browser):
    browser.open(f"{address}/verification.html", 1280, "light")
    rows = browser.evaluate("""
(() => {
  const field = [...document.querySelectorAll('.table-filter')].pop();
  const table = [...document.querySelectorAll('article table')].pop();
  const count = () => [...table.tBodies[0].rows].filter(x => x.getClientRects().length).length;
  const all = count();
  field.value = 'Nadam torch';
  field.dispatchEvent(new Event('input'));
  return [all, count(), table.tBodies[0].rows.length];
})()
""")
    assert rows[0] == rows[2] > 1000
    assert 0 < rows[1] < 50
