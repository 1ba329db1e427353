"""How long a model takes from the bucket to a ready pipeline's tensors.

    python -m benchmarks.model_load [--gigabits 2.5 5 10 0] [--repeats 5]

Three ways, one after the other in each round: parallel GETs that keep nothing, which is as fast as
the bucket serves; boto3's `download_file` and diffusers' `from_pretrained`; the agent's download
and the engine's load. The bucket is localbucket on this machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy
from tqdm import tqdm

from benchmarks.measuring import IMAGES, RESULTS, ROOT, conditions, positive, spread
from benchmarks.model_load_page import figures_in_words
from benchmarks.model_load_plot import draw
from benchmarks.model_load_worker import BUCKET, NAME
from benchmarks.routing_page import between
from cdk_stable_diffusion.contract import ModelManifest
from cdk_stable_diffusion.contract.keys import model_manifest_key, model_prefix

PAGE = ROOT / "docs" / "architecture" / "model-cache.md"

_RAW = ("raw", "raw, larger parts")
_WAYS = {"download_file": "from_pretrained", "agent": "engine"}
"""Who downloads, and who loads."""


class Worker:
    """A process that does one thing at a time."""

    def __init__(self, way: str, model: Path, port: int) -> None:
        """Start it, and wait until it is ready."""
        self._way = way
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.model_load_worker", way, str(model), str(port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._expect("ready")

    def seconds(self, directory: Path) -> float:
        """Return how long it takes."""
        assert self._process.stdin is not None
        began = time.perf_counter()
        self._process.stdin.write(f"{directory}\n")
        self._process.stdin.flush()
        self._expect("done")
        return time.perf_counter() - began

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().rstrip("\n")
        if line != word:
            raise SystemExit(f"{self._way} said {line!r} instead of {word!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What each way took once, in seconds.

    Attributes:
        raw: The faster one of the two that keep nothing.
        download_file: boto3 alone.
        from_pretrained: diffusers alone.
        agent: The agent's download alone.
        engine: The engine's load alone.
    """

    raw: float
    download_file: float
    from_pretrained: float
    agent: float
    engine: float


def main() -> None:
    """Measure, show, save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabits", type=float, nargs="+", default=[2.5, 5.0, 10.0, 0.0])
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--folder", type=Path, help="where models go. Default: a temporary one")
    parser.add_argument("--output", type=Path, default=RESULTS / "model-load.json")
    parser.add_argument("--plot", type=Path, default=IMAGES / "model-load.svg")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        size = _publish(folder / "buckets")
        rows = []
        rounds = len(arguments.gigabits) * (arguments.repeats + 1)
        with tqdm(total=rounds, mininterval=1, unit="round") as bar:
            for gigabits in arguments.gigabits:
                measured = _measure(folder, gigabits, arguments.repeats, size, bar)
                rows.append(_row(gigabits, measured, size))
    report = {"conditions": conditions(), "bytes": size, "rows": rows}
    _print(rows)
    arguments.output.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    draw(report, arguments.plot)
    page = arguments.page.read_text("utf-8")
    arguments.page.write_text(between(page, "figures", figures_in_words(report)), "utf-8")


def _publish(buckets: Path) -> int:
    """Put the model into a bucket, and return its size."""
    from benchmarks.random_model import make_random_model

    directory = buckets / BUCKET / model_prefix(NAME)
    directory.parent.mkdir(parents=True)
    make_random_model(directory)
    manifest = ModelManifest.of_directory(directory, NAME)
    (buckets / BUCKET / model_manifest_key(NAME)).write_text(manifest.to_json(), "utf-8")
    return manifest.size


def _measure(folder: Path, gigabits: float, repeats: int, size: int, bar: tqdm[Any]) -> list[Round]:
    model = folder / "buckets" / BUCKET / model_prefix(NAME)
    rounds = []
    with ExitStack() as stack:
        port = stack.enter_context(_server(folder / "buckets", gigabits))
        workers = {}
        for way in (*_RAW, *_WAYS, *_WAYS.values()):
            workers[way] = Worker(way, model, port)
            stack.callback(workers[way].end)
        for number in range(repeats + 1):
            found = _round(workers, folder / "files", size)
            # The first fills the server's caches.
            if number:
                rounds.append(found)
            bar.update()
    return rounds


def _round(workers: dict[str, Worker], files: Path, size: int) -> Round:
    seconds: dict[str, float] = {}
    for way in _RAW:
        seconds[way] = workers[way].seconds(files)
    for download, load in _WAYS.items():
        files.mkdir()
        _touch_memory(size)
        seconds[download] = workers[download].seconds(files)
        seconds[load] = workers[load].seconds(files)
        shutil.rmtree(files)
    return Round(
        raw=min(seconds.pop(way) for way in _RAW),
        **seconds,
    )


def _touch_memory(size: int) -> None:
    """Have this machine's memory at hand.

    A virtual machine may give memory that is free back to its host, and then takes longer to get it
    again than to fill it.
    """
    numpy.full(size + size // 4, 1, numpy.uint8)


@contextmanager
def _server(folder: Path, gigabits: float) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.range_server", str(folder)]
    with subprocess.Popen(
        [*command, "--gigabits", str(gigabits)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


def _row(gigabits: float, rounds: Sequence[Round], size: int) -> dict[str, Any]:
    """Return the figures of one network; shares are of the raw rate in the same round."""
    totals = {
        download: [getattr(each, download) + getattr(each, load) for each in rounds]
        for download, load in _WAYS.items()
    }
    return {
        "gigabits_per_second": gigabits or None,
        "raw_megabytes_per_second": round(size / 1e6 / median(each.raw for each in rounds)),
        "seconds": {
            name: spread([asdict(each)[name] for each in rounds]) for name in asdict(rounds[0])
        },
        "percent_of_raw": {
            name: {
                key: round(100 * value, 1)
                for key, value in spread(
                    [each.raw / total for each, total in zip(rounds, totals[name], strict=True)]
                ).items()
            }
            for name in totals
        },
    }


def _print(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        seconds = {name: values["median"] for name, values in row["seconds"].items()}
        shares = {name: values["median"] for name, values in row["percent_of_raw"].items()}
        limit = row["gigabits_per_second"]
        print(f"{limit or 'no limit'}: {row['raw_megabytes_per_second']} MB/s, {seconds}, {shares}")


if __name__ == "__main__":
    main()
