"""Importing the contract costs next to nothing, for clients, functions and agents alike."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"aws_cdk", "jsii", "constructs", "torch", "diffusers", "boto3", "botocore", "numpy"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


def test_it_loads_nothing_heavy() -> None:
    code = "import sys, cdk_stable_diffusion.contract; print('\\n'.join(sys.modules))"
    assert not HEAVY & set(run("-c", code).stdout.split())


def test_it_takes_less_than_a_tenth_of_a_second() -> None:
    # Time on the processor, so that other work on the machine does not count; the best of a few.
    best = min(_import_seconds() for _ in range(5))
    assert best < 0.1


def _import_seconds() -> float:
    code = (
        "import time; start = time.process_time(); import cdk_stable_diffusion.contract; "
        "print(time.process_time() - start)"
    )
    return float(run("-c", code).stdout)
