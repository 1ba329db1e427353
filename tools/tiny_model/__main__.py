"""Trains the tiny model, measures it, and draws its sample grid.

``python -m tools.tiny_model`` does all of it; ``... evaluate`` and ``... grid`` do a part of it
with a model that exists.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

# Threads that spin while they wait steal the cores from one another. Torch reads this once.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tools.tiny_model import evaluate, grid, pipeline, recipe
from tools.tiny_model.settings import QUICK, Settings

_WORK: Final = Path(".tiny-model")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "evaluate":
        return 0 if evaluate.evaluate(options.output or pipeline.SHIPPED) else 1
    if options.command == "grid":
        grid.write_grid(options.output or pipeline.SHIPPED, options.grid or grid.DEFAULT_PICTURE)
        return 0
    if options.quick:
        return _train_quickly(options)
    settings = Settings().scaled(options.scale)
    return 0 if _train(options, settings, pipeline.SHIPPED, grid.DEFAULT_PICTURE) else 1


def _train_quickly(options: argparse.Namespace) -> int:
    """Shows that everything runs; its model is useless, so it stays in the work folder."""
    options.work = options.work / "quick"
    _train(options, QUICK, options.work / "model", options.work / "grid.png")
    return 0


def _train(options: argparse.Namespace, settings: Settings, output: Path, picture: Path) -> bool:
    folder, sheet = options.output or output, options.grid or picture
    networks, autoencoder = recipe.run(settings, options.work)
    pipeline.save(networks, autoencoder, folder)
    grid.write_grid(folder, sheet)
    return evaluate.evaluate(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.tiny_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", nargs="?", choices=("train", "evaluate", "grid"), default="train"
    )
    parser.add_argument("--output", type=Path, help="the model's folder (the shipped one)")
    parser.add_argument("--grid", type=Path, help="the sample grid (the one in docs/images)")
    parser.add_argument(
        "--work", type=Path, default=_WORK, help="keeps unfinished work (%(default)s)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--scale", type=float, default=1.0, help="multiplies all training steps (%(default)s)"
    )
    length.add_argument(
        "--quick", action="store_true", help="train for a minute, only to see that it runs"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
