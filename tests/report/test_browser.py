"""Every kind of page in a real browser: on a wide and a narrow screen, light and dark."""

from __future__ import annotations

import re
from urllib.parse import unquote

import numpy as np
import pytest
from helpers.browser import find_browser
from helpers.commands import run_command
from helpers.experiments import write_table

pytest.importorskip("matplotlib")
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(find_browser() is None, reason="needs Chromium or Chrome"),
]

SMALL = ("--train_examples=120", "--execution=graph", "--hidden=8", "--learning_rate=0.01")
RUN = (*SMALL, "--epochs=4")
TABLE = ("--dataset=rows.csv", "--target=y", "--task=regression")
WIDE_DEEP = ("--model=wide_deep", "--wide_columns=0-1", "--deep_columns=1-3", "--auxiliary_output")
OPTIMIZERS = "--vary=optimizer={sgd,momentum,nesterov,adagrad,rmsprop,adam,adamax,nadam,lion}"
SEARCH = "--search=learning_rate=log(1e-3,1e-1); depth=int(1,2); optimizer={sgd,nadam}"
COMMANDS = {
    "classes": ("train", *RUN, "--metrics=accuracy,ece", "--class_weight=balanced", "--calibrate"),
    "numbers": ("train", *RUN, *TABLE, "--schedule=cosine_decay", "--norms", "--metrics=mae"),
    "outputs": ("train", *RUN, *TABLE, *WIDE_DEEP),
    "autoencoder": ("train", *RUN, "--model=autoencoder"),
    "augmented": ("train", *RUN, "--augment=rotation=0.1,zoom=0.1", "--learning_rate=auto"),
    "many_classes": ("train", *RUN, "--dataset=many.npz"),
    "diverged": ("train", *RUN, "--optimizer=sgd", "--learning_rate=1e30", "--nonfinite=none"),
    "folds": ("train", *SMALL, "--epochs=1", "--folds=3"),
    "ensemble": ("train", *RUN, "--ensemble=3"),
    "search": ("tune", *SMALL[:2], "--epochs=2", "--trials=6", SEARCH),
    "compare": ("compare", *SMALL[:3], "--epochs=2", "--seeds=2", "--tune_learning_rate",
                "--learning_rates=0.01,0.1", OPTIMIZERS),
}  # fmt: skip
SEVERAL = ("classes", "numbers", "outputs", "autoencoder", "augmented")

CHECK = """
(() => {
  const problems = [], add = (what, node) =>
    problems.push(what + ': ' + (node.textContent || node.outerHTML).trim().slice(0, 60));
  const width = document.documentElement.scrollWidth;
  if (width > WIDTH) problems.push('the page is ' + width + ' pixels wide');
  if (!document.title || document.documentElement.lang !== 'en') problems.push('title or lang');
  const levels = [...document.querySelectorAll('h1, h2, h3')].map(x => +x.tagName[1]);
  if (levels.filter(x => x === 1).length !== 1 || levels[0] !== 1) problems.push('one h1, first');
  levels.forEach((x, k) => { if (k && x > levels[k - 1] + 1) problems.push('a heading skips'); });
  for (const x of document.images) if (!x.alt) add('an image without a text', x);
  for (const x of document.querySelectorAll('svg'))
    if (!x.getAttribute('aria-label')) add('a figure without a label', x);

  const luminance = rgb => {
    const [r, g, b] = rgb.map(x => x / 255)
      .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const channels = text => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const paper = luminance(channels(getComputedStyle(document.body).backgroundColor));
  const hasText = x => [...x.childNodes].some(y => y.nodeType === 3 && y.nodeValue.trim());
  const shown = [...document.querySelectorAll('body *')]
    .filter(x => hasText(x) && x.getClientRects().length);
  for (const x of shown) {
    const style = getComputedStyle(x), color = x.ownerSVGElement ? style.fill : style.color;
    const ink = luminance(channels(color));
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (contrast < 4.5) add('contrast ' + contrast.toFixed(1), x);
    if (!x.ownerSVGElement) {
      if (parseFloat(style.fontSize) < 13) add('text of ' + style.fontSize, x);
      continue;
    }
    const m = x.getScreenCTM(), size = parseFloat(style.fontSize) * Math.hypot(m.a, m.b);
    const least = x.tagName === 'tspan' ? 7 : WIDTH > 600 ? 10 : 9;  // exponents are in a tspan
    if (size < least || size > 16) add('text of a chart of ' + size.toFixed(1) + ' pixels', x);
  }
  for (const svg of document.querySelectorAll('svg')) {
    const edge = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map(x => [x, x.getBoundingClientRect()]);
    texts.forEach(([x, a], k) => {
      if (a.left < edge.left - 1 || a.right > edge.right + 1 || a.top < edge.top - 1
          || a.bottom > edge.bottom + 1) add('cut off in ' + svg.getAttribute('aria-label'), x);
      for (const [y, b] of texts.slice(k + 1)) {
        const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (w > 2 && h > 4) add('overlaps ' + y.textContent.trim(), x);
      }
    });
  }
  return problems;
})()
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder of each kind of page by name, made by the commands."""
    folder = tmp_path_factory.mktemp("pages")
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 4))
    columns = {f"column_{k}": x[:, k] for k in range(4)}
    write_table(folder / "rows.csv", **columns, y=x.sum(1) + random.normal(size=200))
    labels = np.arange(200) % 18
    np.savez(folder / "many.npz", x=x + labels[:, None], y=labels)
    for name, (command, *flags) in COMMANDS.items():
        done = run_command(folder, command, *flags, f"--run_dir={name}")
        assert done.status == 0, (name, done.err)
    done = run_command(folder, "report", *SEVERAL, "--out=several")
    assert done.status == 0, done.err
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("kind", [*COMMANDS, "several"])
def test_a_page_fits_the_screen_and_can_be_read(kind, width, scheme, pages, browser):
    browser.open(pages / kind / "report.html", width, scheme)
    assert browser.evaluate(CHECK.replace("WIDTH", str(width))) == []
    assert browser.complaints() == [] and browser.requests() == []


@pytest.mark.parametrize("kind", [*COMMANDS, "several"])
def test_the_links_of_a_page_lead_to_files(kind, pages):
    text = (pages / kind / "report.html").read_text(encoding="utf-8")
    links = re.findall('<a href="([^"]*)"', text)
    assert all((pages / kind / unquote(link)).is_file() for link in links)
    expected = {"several": len(SEVERAL), "compare": 9, "search": 1}
    assert len(links) == expected.get(kind, 0)


@pytest.mark.parametrize("kind", [x for x in COMMANDS if x not in ("folds", "search", "compare")])
def test_the_first_screen_has_the_results_and_where_they_come_from(kind, pages, browser):
    browser.open(pages / kind / "report.html", 1280, "light")
    bottoms = browser.evaluate(
        "[...document.querySelectorAll('.results strong, .command')]"
        ".map(x => x.getBoundingClientRect().bottom)"
    )
    assert len(bottoms) >= 2 and max(bottoms) < 300
    assert re.search(r"seed 0 · trainlib", browser.evaluate("document.body.innerText"))
