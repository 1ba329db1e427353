"""What a runtime's pods keep of models that they do not draw with."""

from __future__ import annotations

from dataclasses import dataclass

from .._validation import A_WHOLE_NUMBER, Faults
from .disk import BYTES_OF_A_GIBIBYTE

A_MODEL_CACHE = "a ModelCache, such as ModelCache(memory_gibibytes=8)"
_MOST_GIBIBYTES = 1_024


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCache:
    """What each pod of a dynamic runtime keeps of models, besides on its GPU and on the disk.

    On the GPU a pod keeps as many models as fit there beside what drawing takes, whatever is said
    here. What must make room there waits in the host's memory, and comes back without being read
    again; and the next task's model is read there while the GPU draws. Which model goes is decided
    by how long it takes to get it back, for each byte that it has.

    Only `Engine.diffusers()` keeps models there.

    Attributes:
        memory_gibibytes: The host's memory for models, for each pod: it asks for 10 GiB and this.
            In 16 bits a model of SD 1.5 has 2 GiB, of SDXL 7. Nodes must have it: instances of g5
            and g6 have 4 GiB for each vCPU, of gr6 and g6e 8, and those that are too small for the
            pods are not launched. Default: 0, none.
    """

    memory_gibibytes: int = 0

    def __post_init__(self) -> None:
        """Check the value.

        Raises:
            ValueError: If it is wrong.
        """
        faults = Faults()
        if faults.check_type("memory_gibibytes", self.memory_gibibytes, int, A_WHOLE_NUMBER):
            faults.check(
                0 <= self.memory_gibibytes <= _MOST_GIBIBYTES,
                f"memory_gibibytes is {self.memory_gibibytes}: 0 to {_MOST_GIBIBYTES}",
            )
        faults.raise_if_any("ModelCache")

    @property
    def _memory_bytes(self) -> int:
        return self.memory_gibibytes * BYTES_OF_A_GIBIBYTE
