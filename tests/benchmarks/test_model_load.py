"""The page on the model cache shows what was measured."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import model_load_page, model_load_plot
from benchmarks.measuring import IMAGES, RESULTS, ROOT

PAGE = ROOT / "docs" / "architecture" / "model-cache.md"
REPORT = json.loads((RESULTS / "model-load.json").read_text("utf-8"))


def test_the_page_shows_the_figures_as_they_are() -> None:
    assert model_load_page.figures_in_words(REPORT) in PAGE.read_text("utf-8")


def test_the_plot_shows_the_figures_as_they_are(tmp_path: Path) -> None:
    model_load_plot.draw(REPORT, tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_text() == (IMAGES / "model-load.svg").read_text()
