"""Proves that the wheel is whole: ``python -m tools.check_wheel``.

Builds the wheel, installs it with nothing but what it depends on into an empty environment, and
synthesises the quickstart that it carries, with no network and no docker.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOT_NEEDED = ("torch", "diffusers", "boto3", "ministack")

# Where the kernel allows it, the app runs in a network namespace of its own, which has no way
# out; elsewhere every proxy leads nowhere.
NO_NETWORK = ["unshare", "--net", "--map-root-user"]
NOWHERE = "http://127.0.0.1:9"


def main() -> None:
    """Build, install, synthesise.

    Raises:
        SystemExit: If the environment holds what it should not, or the synthesis fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        wheel = build(work)
        python = install(wheel, work)
        for name in NOT_NEEDED:
            if (
                subprocess.run([python, "-c", f"import {name}"], capture_output=True).returncode
                == 0
            ):
                sys.exit(f"the wheel's environment holds {name}")
        synthesise(python, work)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB; the quickstart synthesises")


def build(work: Path) -> Path:
    """Build the wheel and return its path."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(work)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = work.glob("*.whl")
    return wheel


def install(wheel: Path, work: Path) -> Path:
    """Install the wheel with its extra ``node`` into a new environment; return its Python."""
    environment = work / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    lock = ROOT / "requirements" / "dev.lock"
    options = ["--quiet", "--constraint", str(lock)]
    subprocess.run([python, "-m", "pip", "install", *options, f"{wheel}[node]"], check=True)
    return python


def synthesise(python: Path, work: Path) -> None:
    """Synthesise the quickstart out of the installed wheel."""
    find = "import cdk_stable_diffusion as p; print(p.__path__[0])"
    package = subprocess.run(
        [python, "-c", find], cwd=work, check=True, capture_output=True, text=True
    ).stdout.strip()
    environment = {
        # Nothing but the environment's own tools: no docker, no other node.
        "PATH": str(python.parent),
        "HOME": str(work),
        "CDK_OUTDIR": str(work / "cdk.out"),
        "http_proxy": NOWHERE,
        "https_proxy": NOWHERE,
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
    }
    unshare = shutil.which(NO_NETWORK[0])
    alone = [unshare, *NO_NETWORK[1:]] if unshare else []
    if subprocess.run([*alone, "/bin/true"], capture_output=True).returncode:
        alone = []
    app = Path(package) / "local" / "quickstart" / "app.py"
    subprocess.run([*alone, python, app], cwd=work, env=environment, check=True)
    if not (work / "cdk.out" / "StableDiffusion.template.json").exists():
        sys.exit("the quickstart made no template")


if __name__ == "__main__":
    main()
