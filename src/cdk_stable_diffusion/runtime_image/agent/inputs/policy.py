"""Where input images may come from, and how large they may be."""

from __future__ import annotations

from dataclasses import dataclass

from ....contract import AgentEnvironment
from ....contract.limits import MAX_INPUT_BYTES, MAX_INPUT_PIXELS


@dataclass(frozen=True, kw_only=True, slots=True)
class InputPolicy:
    """What is allowed. Data URLs always are; everything else is refused unless it is named.

    Attributes:
        buckets: Buckets that may be read from, the output bucket among them where it is meant to
            be: each by its name, with a slash and a prefix behind it where only keys that begin so
            may be read. Who may send tasks can use any picture in them whose key they know.
        hosts: Hosts that may be fetched from, each by its exact name; a name does not stand for
            the names below it.
        max_bytes: Most bytes of one file.
        max_pixels: Most pixels of one picture, as its header says.
        seconds: Longest that fetching one file may take, whatever the other side does.
    """

    buckets: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    max_bytes: int = MAX_INPUT_BYTES
    max_pixels: int = MAX_INPUT_PIXELS
    seconds: float = 20.0

    def __post_init__(self) -> None:
        """Compare hosts as DNS does: without regard to case."""
        object.__setattr__(self, "hosts", frozenset(host.lower() for host in self.hosts))

    def allows_object(self, bucket: str, key: str) -> bool:
        """Tell whether an object may be read.

        Args:
            bucket: Name of its bucket.
            key: Its key.
        """
        place = f"{bucket}/{key}"
        return any(place.startswith(each if "/" in each else f"{each}/") for each in self.buckets)

    @classmethod
    def of(cls, environment: AgentEnvironment) -> InputPolicy:
        """Return what an agent's settings allow: the output bucket, and what they name.

        Args:
            environment: The settings.
        """
        return cls(
            buckets=frozenset({environment.output_bucket, *environment.input_buckets}),
            hosts=frozenset(environment.input_hosts),
            max_bytes=environment.max_input_bytes,
            max_pixels=environment.max_input_pixels,
        )
