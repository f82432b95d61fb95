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
from helpers.reference import REFERENCE

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
    for (let k = 0; k < 400; ++k) {
      await new Promise(r => setTimeout(r, 30));
      const now = JSON.stringify(read());
      if (isDone(now, before)) return;
      before = now;
    }
  };
  for (const words of QUERIES) {
    await type('', now => now === '[]');  // so that the results are not those of the words before
    await type(words, (now, before) => now !== '[]' && now === before);
    found[words] = [...new Set(read())].slice(0, 5);  // the first pages
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


PHRASES = {
    "freeze layers": ["transfer"],
    "fine-tuning": ["transfer"],
    "transfer learning": ["transfer"],
    "class weights": ["data"],
    "imbalanced data": ["data"],
    "tf.data": ["data", "guides/large_data"],
    "generator": ["data", "guides/large_data"],
    "data augmentation": ["augmentation"],
    "dropout": ["models", "concepts/regularization", "tutorial/overfitting"],
    "batch normalization": ["models"],
    "autoencoder": ["models"],
    "L2 regularization": ["concepts/regularization"],
    "weight decay": ["concepts/regularization"],
    "gradient clipping": ["concepts/clipping"],
    "gradient accumulation": ["reference/transforms"],
    "label smoothing": ["concepts/losses", "reference/losses"],
    "from_logits": ["concepts/losses"],
    "custom training loop": ["tutorial/own_loop"],
    "custom loss": ["guides/own_functions"],
    "custom metric": ["guides/own_functions"],
    "custom callback": ["guides/own_functions"],
    "custom optimizer": ["guides/own_optimizer"],
    "mixed precision": ["guides/mixed_precision"],
    "distributed training": ["tutorial/several_devices", "scaling"],
    "multi-GPU": ["tutorial/several_devices", "scaling"],
    "hyperparameter tuning": ["search", "tutorial/search"],
    "learning rate finder": ["tutorial/schedules"],
    "one cycle": ["concepts/schedules"],
    "warmup": ["concepts/schedules"],
    "cross-validation": ["cross_validation"],
    "GridSearchCV": ["estimators"],
    "Monte Carlo dropout": ["uncertainty"],
    "save a model": ["export", "migration/keras"],
    "SavedModel": ["export", "guides/serve"],
    "TensorFlow Serving": ["guides/serve", "export"],
    "TFLite": ["export", "guides/serve"],
    "ONNX": ["export", "guides/serve"],
    "reproducibility": ["guides/reproducibility"],
    "deterministic": ["guides/reproducibility", "concepts/determinism"],
    "Slurm": ["guides/preemption"],
    "Kubernetes": ["guides/preemption"],
    "NaN loss": ["runs"],
    "resume": ["runs"],
    "checkpoint": ["runs"],
    "overfitting": ["tutorial/overfitting"],
    "confusion matrix": ["reference/metrics", "readme"],
    "AUC": ["reference/metrics", "concepts/metrics"],
    "F1 score": ["reference/metrics", "concepts/metrics"],
    "EMA": ["weight_averaging"],
    "AdamW": ["reference/optimizers", "concepts/optimizers"],
    "PyTorch": ["migration/pytorch"],
    "Optax": ["migration/optax"],
    "install": ["index", "readme"],
}
"""What else people type, and the pages of which one is to be found."""
ROW = re.compile(r"^\| (?!technique|Keras|---)(.+?) \| (?:.* \| )?(.+?) \|$", re.MULTILINE)


def rows(page):
    """Return the first cell of each row of the tables of a page, and the pages in the last one.

    A public name stands for its page in the reference.
    """
    topics = {f"`{e.name}`": t.page for t, found in REFERENCE.by_topic().items() for e in found}
    found = []
    for first, last in ROW.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        pages = re.findall(r"\]\((?:\.\./)*([\w/]+\.md)", last)
        pages += [topics[name] for name in re.findall(r"`[^`]+`", last) if name in topics]
        found.append((first, [page.removesuffix(".md").lower() for page in pages]))
    return found


def tasks():
    """Return the words to search for, and the pages of which one is to be found.

    They are the techniques of the workflows, the names of Keras in the migration, and `PHRASES`.
    """
    found = {}
    for technique, pages in rows("workflows.md"):
        words = re.split(r"[:;,(]", technique.replace("`", ""))[0]
        found[words] = [*pages, "workflows"]
    for cell, pages in rows("migration/keras.md"):
        for name in re.findall(r"[A-Z]\w+[a-z]\w*|[a-z]+_\w+", " ".join(cell.split("`")[1::2])):
            found[name] = [*pages, "migration/keras"]
    return {**found, **PHRASES}


def test_a_search_finds_each_task_among_its_first_five_pages(address, browser):
    browser.open(f"{address}/index.html", 1280, "light")
    queries = tasks()
    assert len(queries) > 100
    results = browser.evaluate(SEARCH.replace("QUERIES", json.dumps(list(queries))))
    missed = {
        words: results[words]
        for words, pages in queries.items()
        if not any(f"/{page}.html" in results[words] for page in pages)
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
