"""Locks the versions that the demo and the tests run with: ``python -m tools.lock [--upgrade]``.

Run it with the oldest Python that the demo supports, so that every later one can install the
same versions.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = {"demo": ("local",), "dev": ("local", "dev")}


def lock(name: str, extras: tuple[str, ...], upgrade: bool) -> None:
    """Write one lock file.

    Args:
        name: Its name in ``requirements/``.
        extras: The extras whose dependencies it holds.
        upgrade: Whether to take the newest versions rather than keep what the file has.
    """
    target = ROOT / "requirements" / f"{name}.lock"
    constraints = ROOT / "requirements" / "constraints.txt"
    command = [sys.executable, "-m", "piptools", "compile", "--quiet", "--output-file", str(target)]
    for option in ("annotate", "header", "emit-find-links", "emit-index-url", "emit-options"):
        command.append(f"--no-{option}")
    command += ["--strip-extras", "--allow-unsafe", "--constraint", str(constraints)]
    command += [f"--extra={extra}" for extra in extras]
    command += ["--upgrade"] if upgrade else []
    subprocess.run([*command, "pyproject.toml"], cwd=ROOT, check=True)
    # A build's local version ("+cpu") names where it came from, not what the project needs.
    lines = [line.partition("+")[0] for line in target.read_text("utf-8").splitlines()]
    target.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    for each, its_extras in LOCKS.items():
        lock(each, its_extras, upgrade="--upgrade" in sys.argv)
