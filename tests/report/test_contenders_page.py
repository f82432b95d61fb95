"""The page of a comparison ranks by validation data, and says what the differences mean."""

from __future__ import annotations

import math
import re

import pytest

from trainlib.report.contenders_page import ContendersReport, write_contenders_page
from trainlib.tools.comparison import Contender, SeedRun, differences, ranked

pytest.importorskip("matplotlib")


def contender(name, losses, **options):
    """A contender whose runs have these losses on validation data, and half of them on test."""
    runs = tuple(
        SeedRun(seed, [{"epoch": 1, "loss": 1.0, "val_loss": x}], {"loss": x}, {"loss": x / 2}, 2.0)
        for seed, x in enumerate(losses)
    )
    return Contender(name, runs, **options)


@pytest.fixture
def write(tmp_path):
    """`write(contender, ..., baseline=...)`: the page without its figures, and its pictures."""

    def run(*contenders, baseline=None):
        found = ranked(contenders, "val_loss", True)
        report = ContendersReport(
            "name of the folder",
            found,
            differences(found, "val_loss", baseline),
            "val_loss",
            True,
            baseline,
            {x.name: {"dataset": "digits", "optimizer": x.name} for x in found},
            {x.name: f"flags/{x.name}.txt" for x in found},
        )
        write_contenders_page(report, tmp_path)
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        return re.sub(r"<svg.*?</svg>", "", text, flags=re.S), {
            path.stem for path in tmp_path.glob("*.png")
        }

    return run


def test_contenders_are_in_the_order_of_their_rank_with_links_to_their_flags(write):
    text, pictures = write(contender("b", [3.0, 4.0, 3.5]), contender("a", [1.0, 2.0, 1.6]))
    rows = re.findall(r'<td class="number">(\d)</td><td><a href="([^"]*)">(\w)</a></td>', text)
    assert rows == [("1", "flags/a.txt", "a"), ("2", "flags/b.txt", "b")]
    assert "<strong>1.53 ± 0.50</strong></td>" in text and ">3.50 ± 0.50</td>" in text
    assert "<strong>1.53 ± 0.50</strong><span>validation loss of the best, a</span>" in text
    assert pictures == {"validation_loss", "test_loss", "val_loss", "loss"}


def test_differences_say_whether_they_may_be_chance(write):
    text, _ = write(
        contender("a", [1.0, 1.1, 1.2]),
        contender("near", [1.2, 1.1, 1.3]),
        contender("far", [9.0, 9.2, 9.1]),
    )
    assert re.search(r"<td>far</td>.*<td>worse</td>", text)
    assert re.search(r"<td>near</td>.*<td>may be chance</td>", text)
    assert "all 3 pairs" in text and "With 3 seeds only differences" in text
    assert "test loss: minus a" in text
    assert "By the test loss, a is better than far." in text
    assert "By the test loss, the difference of a from near may be chance." in text


def test_a_baseline_is_the_reference(write):
    text, _ = write(
        contender("a", [1.0, 1.1]),
        contender("b", [2.0, 2.2]),
        contender("c", [3, 3.3]),
        baseline="b",
    )
    assert "test loss: minus b" in text and "2 pairs with b" in text


def test_one_seed_is_said_to_show_no_spread(write):
    text, _ = write(contender("a", [1.0]), contender("b", [2.0]))
    assert "one seed shows no spread" in text and "Differences need two seeds" in text


def test_failed_and_diverged_contenders_are_shown_as_such(write):
    failed = Contender("failed", (SeedRun(0, failure="ValueError: <no>"), SeedRun(1)))
    text, _ = write(contender("a", [1.0, 2.0]), contender("nan", [1.0, math.nan]), failed)
    assert "Not ranked: nan (1 of 2 diverged), failed (1 of 2 failed, 1 of 2 diverged)." in text
    assert '<td class="long">ValueError: &lt;no&gt;</td>' in text
    assert "No two contenders have results of all seeds" in text


def test_a_learning_rate_at_the_end_of_the_range_is_marked(write):
    tuning = {0.1: 1.0, 0.01: 2.0, 0.001: 3.0}
    text, pictures = write(
        contender("a", [1.0, 2.0], tuning=tuning, learning_rate=0.1),
        contender("b", [2.0, 3.0], tuning=tuning, learning_rate=0.01),
    )
    assert "<td>0.1 (end of the range)</td>" in text and "--learning_rates" in text
    assert "the best of 3 on validation data with seed 0" in text
    assert "learning_rates" in pictures
