"""The page on start-up shows the figures of its table, and every figure says where it is from."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import start_up_plot, start_up_timeline
from benchmarks.measuring import IMAGES, ROOT
from benchmarks.start_up_timeline import HYDRATION, MODES, POLL, Figure, Kind

PAGE = ROOT / "docs" / "architecture" / "start-up.md"
FIGURES = [
    pytest.param(figure, id=f"{mode.name}-{phase}")
    for mode in MODES
    for phase, figure in mode.figures.items()
]


@pytest.mark.parametrize("figure", [*FIGURES, pytest.param(HYDRATION, id="hydration")])
def test_a_figure_has_a_source_or_is_open(figure: Figure) -> None:
    if figure.kind is Kind.OPEN:
        assert (figure.least, figure.most, figure.sources) == (None, None, ())
        return
    assert figure.least is not None and figure.most is not None
    assert figure.least <= figure.most
    assert figure.sources
    for source in figure.sources:
        is_file = (PAGE.parent / source.address).is_file()
        assert source.address.startswith("https://") or is_file
        assert source.date and source.conditions


def test_the_page_shows_the_figures_as_they_are() -> None:
    assert start_up_timeline.figures_in_words() in PAGE.read_text("utf-8")


def test_the_plot_shows_the_figures_as_they_are(tmp_path: Path) -> None:
    start_up_plot.draw(MODES, tmp_path / "plot.svg")
    shown = (IMAGES / "start-up-timeline.svg").read_text("utf-8")
    assert (tmp_path / "plot.svg").read_text("utf-8") == shown


def test_keda_looks_as_often_as_the_library_says() -> None:
    from cdk_stable_diffusion.runtime import Scaling
    from cdk_stable_diffusion.runtime.workload import Workload

    scaled_object = Workload(name="sdxl", namespace="here").scaled_object(
        scaling=Scaling(), queue_urls=["https://sqs.example/queue"], region="eu-west-1"
    )
    for mode in MODES:
        assert mode.figures[POLL].most == scaled_object["spec"]["pollingInterval"]


def test_the_snapshot_is_filled_as_fast_as_the_library_says() -> None:
    from cdk_stable_diffusion.runtime import ImageStart

    rate = ImageStart.snapshot().initialization_rate * 1_048_576
    assert start_up_timeline.INITIALIZATION_BYTES_A_SECOND == rate
