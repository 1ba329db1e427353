"""From the first task to the first picture, by image-start mode.

``python -m benchmarks.start_up_timeline`` draws docs/images/start-up-timeline.svg, and writes the
figures behind it into docs/architecture/start-up.md. Nothing is measured here: the table below
holds what others published, what `benchmarks.agent_start` measured, and what follows from these by
arithmetic. A figure that nobody has published is None, and is left open.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from enum import Enum

from benchmarks.agent_start import FILE as AGENT_START
from benchmarks.agent_start import READY
from benchmarks.measuring import IMAGES, ROOT

_PAGE = ROOT / "docs" / "architecture" / "start-up.md"
_BEGIN, _END = "<!-- figures:begin -->", "<!-- figures:end -->"


class Kind(Enum):
    """Where a figure comes from."""

    PUBLISHED = "published"
    MEASURED = "measured here"
    ARITHMETIC = "arithmetic"
    SETTING = "setting"
    OPEN = "open"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a figure was published.

    Attributes:
        title: What it is.
        address: Where it is.
        date: When it was published, as exactly as it says.
        conditions: What was measured.
    """

    title: str
    address: str
    date: str
    conditions: str


WORKSHOP = Source(
    title="Reference results of ai-on-eks-startup-optimizing-workshop",
    address="https://github.com/literalice/ai-on-eks-startup-optimizing-workshop/blob/"
    "2c32d4416c79910bdae7ba0d856a3de623785bb8/REFERENCE-RESULTS.md",
    date="2026",
    conditions="g6.4xlarge on demand, us-west-2, Kubernetes 1.34, Bottlerocket 1.64.0, image of "
    "9.35 GB compressed, its container only calls nvidia-smi; a second run was within 9 %",
)
BLUEPRINT = Source(
    title="Karpenter Blueprints: SOCI snapshotter parallel pull/unpack mode",
    address="https://github.com/aws-samples/karpenter-blueprints/tree/main/blueprints/"
    "soci-snapshotter",
    date="2026",
    conditions="image of 9.35 GB compressed, instances with more than 8 Gbps of network and of EBS",
)
AWS_EKS = Source(
    title="S. Gundapuneedi (AWS, EKS compute) on cold starts of inference, The New Stack",
    address="https://thenewstack.io/author/sajjan-gundapuneedi/",
    date="July 2026",
    conditions="EKS Auto Mode and Karpenter, accelerated instances, images of 8 to 12 GB "
    "compressed; 30 to 60 s of pull with 48 vCPU or more, less gain with fewer",
)
LAZY_LOADING = Source(
    title="bottlerocket-images-cache, issue 13",
    address="https://github.com/aws-samples/bottlerocket-images-cache/issues/13",
    date="March 2025",
    conditions="g4dn.xlarge, image of 15 GB from a snapshot without initialization; from the "
    "registry the same application starts within seconds of the pull",
)
UNPACKED = Source(
    title="EKS Blueprints for Terraform: cluster with cached ML images",
    address="https://aws-ia.github.io/terraform-aws-eks-blueprints/patterns/machine-learning/"
    "ml-container-cache",
    date="2024",
    conditions="image of 9.5 GB compressed is 20.4 GB on disk; with fast snapshot restore its pod "
    "starts within 5 s, without a cache after 334 s",
)
INITIALIZATION = Source(
    title="Amazon EBS User Guide: initialize volumes",
    address="https://docs.aws.amazon.com/ebs/latest/userguide/initalize-volume.html",
    date="read in November 2026",
    conditions="100 to 300 MiB/s of a snapshot's data, from the creation of the volume on",
)
KEDA = Source(
    title="KEDA 2.20: ScaledObject",
    address="https://keda.sh/docs/2.20/reference/scaledobject-spec/",
    date="2026",
    conditions="the queue is read every pollingInterval, here 10 s, while there is no pod",
)
NETWORK = Source(
    title="Karpenter 1.14: instance types",
    address="https://karpenter.sh/v1.14/reference/instance-types/",
    date="2026",
    conditions="g6e.xlarge has 2.5 Gbps of network, g6.4xlarge 10",
)
SDXL_FILES = Source(
    title="stable-diffusion-xl-base-1.0, fp16 files",
    address="https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/tree/main",
    date="2023",
    conditions="5.14 + 1.39 + 0.246 + 0.167 GB: UNet, two text encoders, autoencoder",
)
SDXL_TIME = Source(
    title="stable-diffusion-xl-1.0-tensorrt",
    address="https://huggingface.co/stabilityai/stable-diffusion-xl-1.0-tensorrt",
    date="2023",
    conditions="SDXL, 30 steps, 1024 x 1024, NVIDIA A10: 9.4 s, with TensorRT 8.2 s",
)
AGENT = Source(
    title="benchmarks/agent_start.py",
    address="../benchmarks/agent-start.json",
    date="see the file",
    conditions="from the start of the process until it can take a task; no GPU, files in memory",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """How long something takes.

    Attributes:
        least: Fewest seconds that a source gives; None if no source gives any.
        most: Most seconds that a source gives.
        kind: Where they come from.
        sources: Who published them, or what they were computed from.
    """

    least: float | None
    most: float | None
    kind: Kind
    sources: tuple[Source, ...] = ()

    @property
    def text(self) -> str:
        """The figure in words."""
        if self.least is None or self.most is None:
            return "open"
        if self.least == self.most:
            return f"{self.least:g} s"
        return f"{self.least:g} to {self.most:g} s"


def published(least: float, most: float, *sources: Source) -> Figure:
    """Return a figure that somebody published."""
    return Figure(least=least, most=most, kind=Kind.PUBLISHED, sources=sources)


def _imports() -> Figure:
    """Return what `benchmarks.agent_start` measured."""
    seconds = json.loads(AGENT_START.read_text("utf-8"))["seconds"][READY]
    return Figure(
        least=round(seconds["least"], 1),
        most=round(seconds["most"], 1),
        kind=Kind.MEASURED,
        sources=(AGENT,),
    )


UNPACKED_BYTES = 20.4e9
INITIALIZATION_BYTES_A_SECOND = 300 * 1_048_576
SDXL_BYTES = 5.14e9 + 1.39e9 + 0.246e9 + 0.167e9

_HYDRATION_SECONDS = round(UNPACKED_BYTES / INITIALIZATION_BYTES_A_SECOND)

HYDRATION = Figure(
    least=_HYDRATION_SECONDS,
    most=_HYDRATION_SECONDS,
    kind=Kind.ARITHMETIC,
    sources=(UNPACKED, INITIALIZATION),
)
"""From the launch of the instance until every block of the snapshot is on the volume.

A block that is read before its turn is fetched when it is read.
"""

OPEN = Figure(least=None, most=None, kind=Kind.OPEN)

QUEUE = "request to queue"
POLL = "KEDA sees it"
NODE = "node: launch, boot, join"
IMAGE = "image: pull, unpack"
CONTAINER = "container starts"
BLOCKS = "waits for blocks"
IMPORTS = "libraries imported"
DOWNLOAD = "model: S3 to disk"
LOAD = "model: disk to GPU"
DRAW = "first picture"
_PHASES = (QUEUE, POLL, NODE, IMAGE, CONTAINER, BLOCKS, IMPORTS, DOWNLOAD, LOAD, DRAW)

_SHARED = {
    QUEUE: OPEN,
    POLL: Figure(least=0, most=10, kind=Kind.SETTING, sources=(KEDA,)),
    IMPORTS: _imports(),
    DOWNLOAD: Figure(
        least=round(SDXL_BYTES * 8 / 10e9, 1),
        most=round(SDXL_BYTES * 8 / 2.5e9, 1),
        kind=Kind.ARITHMETIC,
        sources=(SDXL_FILES, NETWORK),
    ),
    LOAD: OPEN,
    DRAW: published(8.2, 9.4, SDXL_TIME),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mode:
    """A way for a new node to come to have the image.

    Attributes:
        name: The mode.
        remark: What it is, in a few words.
        figures: What each phase takes, in the order of the phases.
        hydrating: How long, from the launch of the instance on, the volume fills in the
            background; None where no volume is filled.
    """

    name: str
    remark: str
    figures: dict[str, Figure]
    hydrating: Figure | None = None

    def total(self, bound: str) -> float:
        """Return the sum of all phases that have a figure.

        Args:
            bound: "least" or "most".
        """
        return sum(getattr(figure, bound) or 0.0 for figure in self.figures.values())


def _mode(
    name: str, remark: str, own: dict[str, Figure], *, hydrating: Figure | None = None
) -> Mode:
    figures = {**_SHARED, **own}
    return Mode(
        name=name,
        remark=remark,
        figures={phase: figures[phase] for phase in _PHASES if phase in figures},
        hydrating=hydrating,
    )


MODES = (
    _mode(
        "Plain pull",
        "the baseline: containerd as it comes, no mode of this library",
        {
            NODE: published(29, 90, WORKSHOP, AWS_EKS),
            IMAGE: published(95, 240, WORKSHOP, BLUEPRINT, AWS_EKS),
            CONTAINER: published(1, 1, WORKSHOP),
        },
    ),
    _mode(
        "Parallel pull",
        "ImageStart.parallel_pull(), the default",
        {
            NODE: published(33, 90, WORKSHOP, AWS_EKS),
            IMAGE: published(23.2, 62, BLUEPRINT, WORKSHOP),
            CONTAINER: published(2, 2, WORKSHOP),
        },
    ),
    _mode(
        "EKS Auto Mode",
        "Compute.auto_mode(): parallel pull, set up by AWS",
        {
            NODE: published(35, 90, WORKSHOP, AWS_EKS),
            IMAGE: published(30, 60, AWS_EKS, WORKSHOP),
            CONTAINER: published(2, 2, WORKSHOP),
        },
    ),
    _mode(
        "Snapshot",
        "ImageStart.snapshot(), its volume filled at 300 MiB/s",
        {
            NODE: published(40, 90, WORKSHOP, AWS_EKS),
            CONTAINER: published(5, 10, UNPACKED, WORKSHOP),
        },
        hydrating=HYDRATION,
    ),
    _mode(
        "Snapshot, not hydrated",
        "a warning: no such mode here. Each block is fetched when it is first read",
        {
            NODE: published(40, 90, WORKSHOP, AWS_EKS),
            CONTAINER: published(10, 10, WORKSHOP),
            BLOCKS: published(600, 600, LAZY_LOADING),
        },
    ),
)


def main() -> None:
    """Draw the plot, and write the figures and their sources into the page that shows it."""
    from benchmarks.start_up_plot import draw

    plot = IMAGES / "start-up-timeline.svg"
    draw(MODES, plot)
    before, begin, rest = _PAGE.read_text("utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        sys.exit(f"{_PAGE.name} has no place for the figures: {_BEGIN} and {_END}")
    _PAGE.write_text(f"{before}{begin}\n{figures_in_words()}\n{end}{after}", "utf-8")
    for path in (plot, _PAGE):
        print(path.relative_to(ROOT))


def figures_in_words() -> str:
    """Return the figures as a table, and the list of their sources."""
    used = [figure for mode in MODES for figure in mode.figures.values()]
    sources = list(dict.fromkeys(source for each in (*used, HYDRATION) for source in each.sources))
    phases = list(dict.fromkeys(phase for mode in MODES for phase in mode.figures))
    phases.sort(key=_PHASES.index)
    lines = [
        f"| Phase | {' | '.join(mode.name for mode in MODES)} |",
        f"| --- {'| --- ' * len(MODES)}|",
    ]
    for phase in phases:
        figures = (mode.figures.get(phase) for mode in MODES)
        lines.append(f"| {phase} | {' | '.join(_cell(each, sources) for each in figures)} |")
    hydrating = " | ".join(_cell(mode.hydrating, sources) for mode in MODES)
    lines.append(f"| meanwhile: the volume fills | {hydrating} |")
    totals = (
        f"**{mode.total('least'):.0f} to {mode.total('most'):.0f} s**"
        if mode.figures.get(BLOCKS) is None
        else f"**more than {mode.total('least') // 60:.0f} min**"
        for mode in MODES
    )
    lines.append(f"| **together, without what is open** | {' | '.join(totals)} |")
    lines.append("")
    for number, source in enumerate(sources, 1):
        lines.append(
            f"{number}. [{source.title}]({source.address}), {source.date}: {source.conditions}."
        )
    return "\n".join(lines)


def _cell(figure: Figure | None, sources: list[Source]) -> str:
    if figure is None:
        return "none"
    if figure.kind is Kind.OPEN:
        return "open"
    numbers = ", ".join(map(str, sorted(sources.index(each) + 1 for each in figure.sources)))
    return f"{figure.text}, {figure.kind.value} ({numbers})"


if __name__ == "__main__":
    main()
