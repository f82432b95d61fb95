"""The page on scaling is what its script makes of the measurements."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(DOCS / "scaling.py"))


@pytest.fixture(scope="module")
def found():
    return json.loads((DOCS / "scaling.json").read_text(encoding="utf-8"))


def test_the_page_is_current(script, found):
    assert (DOCS / "scaling.md").read_text(encoding="utf-8") == script["page"](found)


def test_every_table_of_the_page_is_filled_in(script, found):
    page = script["page"](found)
    assert re.findall(r"\[[A-Z_]+\]", page) == []
    assert page.count("\n| --- |") == 6


def test_a_ring_moves_each_part_twice_with_a_latency_per_message(script):
    link = script["Link"]("1 MB/s, 1 ms", 1e6, 1e-3)
    ring = script["ring_ms"]
    assert ring(250_000, 1, link) == 0
    assert ring(250_000, 2, link) == pytest.approx(1000 + 2)
    assert ring(250_000, 4, link) == pytest.approx(1500 + 6)


def test_latency_and_bandwidth_follow_from_two_workers(script):
    link = script["Link"]("", 2e9, 1e-4)
    ways = {"all_reduce_ms": script["ring_ms"](500_000, 2, link), "all_reduce_of_one_ms": 0.2}
    net = {"parameters": 500_000, "ways": {"workers_2": ways}}
    assert script["measured_link"](net) == pytest.approx((0.1, 2.0))


def test_efficiency_and_speed_up_are_those_of_the_model(script):
    link = script["Link"]("", 1e6, 0.0)
    case = script["Case"]("", 250_000, lambda batch: 10.0 * batch)
    assert script["weak"](case, 2, link) == pytest.approx(640 / 1640)
    assert script["strong"](case, 2, link) == pytest.approx(5120 / (2560 + 1000))


def test_the_figure_is_drawn_from_the_measurements(script, found, tmp_path):
    pytest.importorskip("matplotlib")
    script["draw"](found["replicas"], tmp_path / "drawn.svg")
    for path in (tmp_path / "drawn.svg", DOCS / "scaling.svg"):
        text = path.read_text(encoding="utf-8")
        assert text.endswith("svg>\n")
        assert all(f">{name}<" in text for name in (*found["replicas"], "efficiency", "workers"))


def test_the_curves_are_drawn_beside_the_least_time(script, tmp_path):
    pytest.importorskip("matplotlib")
    alone = {"products_ms": 1.0, "traffic_ms": 0.5}
    by_size = {
        "1": {"parameters": 10, "ms": 2.0, **alone},
        "4": {"parameters": 40, "ms": 3, **alone},
    }
    names = ("lstm", "transformer")
    by_length = {
        size: {f"{name}_{of}": float(size) for name in names for of in ("ms", "gflop")}
        for size in ("16", "32")
    }
    curves = {"step_by_parameters": by_size, "step_by_batch": by_size, "step_by_length": by_length}
    script["draw_curves"](curves, tmp_path / "drawn.svg")
    text = (tmp_path / "drawn.svg").read_text(encoding="utf-8")
    for label in ("parameters", "batch size", "length of sequences", "traffic alone", *names):
        assert f">{label}<" in text
