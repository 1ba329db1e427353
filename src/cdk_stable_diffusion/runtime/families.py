"""What is known of instance families, to refuse those that no pod could run on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from .._validation import Faults, shown
from .disk import DiskUse

_FAMILY = re.compile(r"[a-z][a-z0-9-]*")

_ARM = "its processors are ARM, and the image is for x86-64"
_FRACTION = "its instances have a fraction of a GPU, and a pod needs a whole one"
_XEN = "its instances are too old: they are not of the Nitro system"

_UNFIT = {
    "g4ad": "its GPUs are AMD's, and the engine needs NVIDIA's",
    **dict.fromkeys(("g5g", "p6e-gb200", "p6e-gb300"), _ARM),
    **dict.fromkeys(("g6f", "gr6f"), _FRACTION),
    **dict.fromkeys(("g2", "g3", "g3s", "p2", "p3"), _XEN),
}

_TYPES: dict[str, tuple[int, tuple[tuple[int, int, int], ...]]] = {
    "g4dn": (
        16_384,
        ((1, 4, 125), (1, 8, 225), (1, 16, 225), (1, 32, 900), (1, 64, 900), (4, 48, 900)),
    ),
    "g5": (
        22_888,
        (
            *((1, 4, 250), (1, 8, 450), (1, 16, 600), (1, 32, 900), (1, 64, 1_900)),
            *((4, 48, 3_800), (4, 96, 3_800), (8, 192, 7_600)),
        ),
    ),
    "g6": (
        22_888,
        (
            *((1, 4, 250), (1, 8, 450), (1, 16, 600), (1, 32, 900), (1, 64, 1_880)),
            *((4, 48, 3_760), (4, 96, 3_760), (8, 192, 7_520)),
        ),
    ),
    "gr6": (22_888, ((1, 16, 600), (1, 32, 900))),
    "g6e": (
        45_776,
        (
            *((1, 4, 250), (1, 8, 450), (1, 16, 600), (1, 32, 900), (1, 64, 1_900)),
            *((4, 48, 3_800), (4, 96, 3_800), (8, 192, 7_600)),
        ),
    ),
    "g7": (
        32_768,
        (
            *((1, 8, 440), (1, 16, 875), (1, 32, 930)),
            *((2, 48, 1_900), (4, 96, 3_800), (8, 192, 7_600)),
        ),
    ),
    "g7e": (
        98_304,
        (
            *((1, 8, 1_900), (1, 16, 1_900), (1, 32, 1_900)),
            *((2, 48, 3_800), (4, 96, 7_600), (8, 192, 15_200)),
        ),
    ),
    "p3dn": (32_768, ((8, 96, 1_800),)),
    "p4d": (40_960, ((8, 96, 8_000),)),
    "p4de": (81_920, ((8, 96, 8_000),)),
    "p5": (81_920, ((1, 16, 3_800), (8, 192, 30_400))),
    "p5e": (144_384, ((8, 192, 30_400),)),
    "p5en": (144_384, ((8, 192, 30_400),)),
    "p6-b200": (183_359, ((8, 192, 30_400),)),
    "p6-b300": (275_040, ((8, 192, 30_400),)),
}
"""Memory of one GPU in MiB, and GPUs, vCPUs and gigabytes of local disk of each instance type.

From the labels that Karpenter 1.14 gives them ("Instance types" in its reference), without bare
metal. Families that are not here are not judged, but warned of: EC2 gets new ones.
"""

_GIBIBYTES_OF_A_VCPU = {"g4dn": 4, "g5": 4, "g6": 4, "gr6": 8, "g6e": 8}
"""Host memory for each vCPU, in the families where it is the same for all instances."""

_USABLE_MEMORY = 0.925
"""Karpenter expects pods to have so much of an instance's memory, less what the kubelet keeps."""

_IN_AUTO_MODE = frozenset(
    "g4dn g5 g6 gr6 g6e g7e p3dn p4d p4de p5 p5e p5en p6-b200 p6-b300".split()
)
"""Families with NVIDIA GPUs and x86-64 in "EKS Auto Mode supported instance reference"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What an instance must be.

    Attributes:
        families: The families to choose from.
        gpus: Number of its GPUs.
        gpu_gibibytes: Memory that each of them must have.
        vcpus: Most vCPUs.
        local_disks: What is needed of their local disks, or None where those are not used.
    """

    families: Sequence[str]
    gpus: int
    gpu_gibibytes: int
    vcpus: int
    local_disks: DiskUse | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Type:
    gpus: int
    gpu_mebibytes: int
    vcpus: int
    gigabytes: int


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


def check_instances(faults: Faults, needs: Needs) -> None:
    """Check that some instance type meets every need at once, or say which one to ease.

    Args:
        faults: Where to record what is wrong.
        needs: What an instance must be.
    """
    if any(family not in _TYPES for family in needs.families):
        return
    types = [
        _Type(gpus=gpus, gpu_mebibytes=mebibytes, vcpus=vcpus, gigabytes=gigabytes)
        for mebibytes, sizes in (_TYPES[family] for family in needs.families)
        for gpus, vcpus, gigabytes in sizes
    ]
    faults.check(
        any(all(met(each) for met in _conditions(needs).values()) for each in types),
        f"no instance type of {', '.join(needs.families)} has {_what(needs)}: "
        f"{_what_would_do(types, needs)}",
    )


def most_memory_gibibytes(needs: Needs) -> float | None:
    """Return the most memory that the pods of a node may have, or None where it is not known.

    It is a little less in fact: the kubelet keeps some, and so do the pods that are on every node.

    Args:
        needs: What its instance must be, whatever its disks.
    """
    if any(family not in _GIBIBYTES_OF_A_VCPU for family in needs.families):
        return None
    conditions = _conditions(replace(needs, local_disks=None)).values()
    return max(
        (
            _USABLE_MEMORY * vcpus * _GIBIBYTES_OF_A_VCPU[family]
            for family in needs.families
            for mebibytes, sizes in (_TYPES[family],)
            for gpus, vcpus, gigabytes in sizes
            if all(
                met(_Type(gpus=gpus, gpu_mebibytes=mebibytes, vcpus=vcpus, gigabytes=gigabytes))
                for met in conditions
            )
        ),
        default=None,
    )


def unknown_families(families: Iterable[str]) -> list[str]:
    """Return the families of which nothing is known, each with one that may be meant.

    Args:
        families: The families.
    """
    unknown = [family for family in families if family not in _TYPES]
    meant = {family: get_close_matches(family, _TYPES, n=1) for family in unknown}
    return [
        repr(family) + (f" (did you mean {close[0]!r}?)" if close else "")
        for family, close in meant.items()
    ]


def in_auto_mode(families: Iterable[str]) -> bool:
    """Tell whether EKS Auto Mode has one of the families, as far as is known.

    Args:
        families: The families.
    """
    return any(family in _IN_AUTO_MODE or family not in _TYPES for family in families)


def _conditions(needs: Needs) -> dict[str, Callable[[_Type], bool]]:
    """Return a condition for each argument that could be eased."""
    conditions: dict[str, Callable[[_Type], bool]] = {
        "gpus_per_node": lambda each: each.gpus == needs.gpus,
        "min_gpu_memory_gibibytes": lambda each: each.gpu_mebibytes >= needs.gpu_gibibytes * 1_024,
        "max_vcpus": lambda each: each.vcpus <= needs.vcpus,
    }
    disks = needs.local_disks
    if disks is not None:
        conditions["model_cache_gibibytes"] = lambda each: (
            each.gigabytes >= disks.local_disk_gigabytes(pods=each.gpus)
        )
    return conditions


def _what(needs: Needs) -> str:
    noun = "GPU" if needs.gpus == 1 else "GPUs"
    disks = ""
    if needs.local_disks is not None:
        disks = f", {needs.local_disks.local_disk_gigabytes(pods=needs.gpus)} GB of local disks"
    return (
        f"{needs.gpus} {noun} of {needs.gpu_gibibytes} GiB{disks} and at most {needs.vcpus} vCPUs"
    )


def _what_would_do(types: Sequence[_Type], needs: Needs) -> str:
    conditions = _conditions(needs)
    would_do = []
    for eased in conditions:
        others = [
            each for each in types if all(conditions[n](each) for n in conditions if n != eased)
        ]
        if others and (value := _value_for(eased, others, needs)):
            would_do.append(f"{eased} {value}")
    if would_do:
        return f"{' or '.join(would_do)} would do"
    counts = ", ".join(str(count) for count in sorted({each.gpus for each in types}))
    memory = max(each.gpu_mebibytes for each in types) // 1_024
    return f"there are instances with {counts} GPUs, of {memory} GiB at most"


def _value_for(argument: str, types: Sequence[_Type], needs: Needs) -> str:
    """Return a value of one argument by which an instance type would do; none if there is none."""
    match argument:
        case "gpus_per_node":
            return " or ".join(str(count) for count in sorted({each.gpus for each in types}))
        case "min_gpu_memory_gibibytes":
            return str(max(each.gpu_mebibytes for each in types) // 1_024)
        case "max_vcpus":
            return str(min(each.vcpus for each in types))
        case _:
            assert needs.local_disks is not None
            cache = needs.local_disks.largest_model_cache_gibibytes(
                pods=needs.gpus, gigabytes=max(each.gigabytes for each in types)
            )
            return str(cache) if cache else ""


def _as_tuple(families: object) -> str:
    example = families if isinstance(families, str) and _FAMILY.fullmatch(families) else "g6"
    return f"a tuple of instance families, such as ({example!r},)"
