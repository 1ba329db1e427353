"""What is known of instance families, to refuse those that no pod could run on."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .._validation import Faults, shown

_FAMILY = re.compile(r"[a-z][a-z0-9-]*")

_UNFIT = {
    "g4ad": "its GPUs are AMD's, and the engine needs NVIDIA's",
    "g5g": "its processors are ARM, and the image is for x86-64",
    "p6e-gb200": "its processors are ARM, and the image is for x86-64",
    "g6f": "its instances have a fraction of a GPU, and a pod needs a whole one",
    "gr6f": "its instances have a fraction of a GPU, and a pod needs a whole one",
}

_GPU_MEBIBYTES = {
    "g4dn": 16_384,
    "g5": 22_888,
    "g6": 22_888,
    "gr6": 22_888,
    "g6e": 45_776,
    "g7": 32_768,
    "g7e": 98_304,
}
"""Memory of one GPU, as Karpenter knows it. Families that are not here are not judged by it."""


def check_families(faults: Faults, families: Sequence[str]) -> bool:
    """Check that pods can run on every family.

    Args:
        faults: Where to record what is wrong.
        families: The families.

    Returns:
        Whether all is right.
    """
    before = len(faults.messages)
    if faults.check_type("families", families, (tuple, list), _as_tuple(families)):
        faults.check(bool(families), "families is empty: at least one instance family")
        for family in families:
            if not isinstance(family, str) or _FAMILY.fullmatch(family) is None:
                faults.check(
                    False, f"families names {shown(family)}: an instance family such as 'g6'"
                )
            elif family in _UNFIT:
                faults.check(False, f"families names {family!r}: {_UNFIT[family]}")
            else:
                # All families of EC2 with NVIDIA GPUs do so.
                faults.check(
                    family.startswith(("g", "p")),
                    f"families names {family!r}: a family with NVIDIA GPUs, such as 'g6'",
                )
    return len(faults.messages) == before


def check_gpu_memory(faults: Faults, families: Sequence[str], gibibytes: int) -> None:
    """Check that some family has GPUs with so much memory.

    Args:
        faults: Where to record what is wrong.
        families: The families.
        gibibytes: Memory that a GPU must have.
    """
    if any(family not in _GPU_MEBIBYTES for family in families):
        return
    most = max(_GPU_MEBIBYTES[family] for family in families)
    faults.check(
        gibibytes * 1_024 <= most,
        f"min_gpu_memory_gibibytes is {gibibytes}: at most {most // 1_024} with the families "
        f"{', '.join(families)}",
    )


def _as_tuple(families: object) -> str:
    example = families if isinstance(families, str) and _FAMILY.fullmatch(families) else "g6"
    return f"a tuple of instance families, such as ({example!r},)"
