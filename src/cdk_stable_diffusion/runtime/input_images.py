"""Where the input images of a runtime's tasks may come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Size, SizeRoundingBehavior, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from .._validation import A_WHOLE_NUMBER, Faults, is_token, shown
from ..contract.limits import MAX_INPUT_BYTES, MAX_INPUT_PIXELS
from ..contract.names import is_host_name

MAX_PLACES = 20
"""Most buckets, and most hosts. The hosts go into the API's route table, which has little room."""

_MEBIBYTE = 2**20
_LEAST_BYTES = 64 * 2**10
_MOST_BYTES = 100 * _MEBIBYTE
_LEAST_PIXELS = 64 * 64
_MOST_PIXELS = 8_192 * 8_192
_WILDCARDS = frozenset("*?$")
_MAX_PREFIX_BYTES = 1_024

_BUCKET_HINT = "a bucket, such as an s3.Bucket, or an InputBucket"
_HOST_SAYS = "a full DNS name in lower case, without scheme, port or wildcard"


@dataclass(frozen=True, kw_only=True, slots=True)
class InputBucket:
    """A part of a bucket.

    Attributes:
        bucket: The bucket.
        prefix: What the keys of all pictures begin with that may be read: folders with a slash at
            the end, such as "products/".
    """

    bucket: s3.IBucket
    prefix: str

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: Naming every value that is wrong.
        """
        faults = Faults()
        hint = "a bucket, such as an s3.Bucket"
        faults.check_has("bucket", self.bucket, "bucket_arn", hint)
        if faults.check_type("prefix", self.prefix, str, "a string, such as 'products/'"):
            faults.check(
                is_token(self.prefix) or _is_prefix(self.prefix),
                f"prefix is {shown(self.prefix)}: folder names with a slash at the end and none in "
                "front, without . and .. among them, and without * ? $",
            )
        faults.raise_if_any("InputBucket")


@dataclass(frozen=True, kw_only=True, slots=True)
class InputImages:
    """Where the pictures that tasks begin with may come from, and how large they may be.

    A request names a picture by a data URL, by ``s3://bucket/key`` or by an ``https://`` URL. Data
    URLs are always taken, and so are objects of the API's output bucket: what one task has drawn,
    the next may begin with. Every other place is refused unless it is named here.

    Whoever may send tasks can use every picture in these places whose name they know, also one
    that another client has put there.

    The runtime may read the objects of the buckets, and decrypt with their keys. Of an imported
    bucket give the key, if it has one, by `s3.Bucket.from_bucket_attributes(encryption_key=...)`;
    the bucket of another account must let the runtime's role in by its own policy, and so must
    its key.

    Hosts are asked over HTTPS on port 443, each by its exact name. Every address that a host has
    must be a public one, and no redirect is followed, so that nobody is led from there into your
    network.

    Attributes:
        buckets: Buckets of the runtime's region, each as a whole or in part (`InputBucket`).
            Default: none but the output bucket.
        hosts: Names of hosts, such as "images.example.com". Default: none.
        max_size: Largest file, 64 KiB to 100 MiB. Default: 20 MiB.
        max_pixels: Most pixels of a picture, 4,096 to 67,108,864. Default: 16,777,216.
    """

    buckets: Sequence[s3.IBucket | InputBucket] = ()
    hosts: Sequence[str] = ()
    max_size: Size | None = None
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: Naming every value that is wrong.
        """
        faults = Faults()
        self._check_buckets(faults)
        self._check_hosts(faults)
        self._check_limits(faults)
        faults.raise_if_any("InputImages")
        object.__setattr__(self, "buckets", tuple(self.buckets))
        object.__setattr__(self, "hosts", tuple(self.hosts))

    @property
    def _max_bytes(self) -> int:
        """Most bytes of a file."""
        return MAX_INPUT_BYTES if self.max_size is None else _bytes(self.max_size)

    @property
    def _most_pixels(self) -> int:
        """Most pixels of a picture."""
        return MAX_INPUT_PIXELS if self.max_pixels is None else self.max_pixels

    @property
    def _known_hosts(self) -> tuple[str, ...] | None:
        """The hosts; None where some are known only at deployment."""
        return None if any(map(is_token, self.hosts)) else tuple(self.hosts)

    @property
    def _places(self) -> tuple[str, ...]:
        """The buckets as an agent reads them: a name, with the prefix behind a slash."""
        return tuple(
            f"{each.bucket.bucket_name}/{each.prefix}"
            if isinstance(each, InputBucket)
            else each.bucket_name
            for each in self.buckets
        )

    @property
    def _resources(self) -> list[str]:
        """The objects that may be read, as a policy names them."""
        return [
            each.bucket.arn_for_objects(f"{each.prefix}*")
            if isinstance(each, InputBucket)
            else each.arn_for_objects("*")
            for each in self.buckets
        ]

    @property
    def _keys(self) -> list[kms.IKey]:
        """The keys of the buckets, each once."""
        keys = {
            key.node.path: key
            for key in (bucket.encryption_key for bucket in self._all_buckets())
            if key is not None
        }
        return list(keys.values())

    @property
    def _needs(self) -> dict[str, object]:
        """The buckets that a stack makes, by the name that an error gives them."""
        return {
            f"input_images.buckets[{index}]": bucket
            for index, bucket in enumerate(self._all_buckets())
            if isinstance(bucket, s3.Bucket)
        }

    def _all_buckets(self) -> list[s3.IBucket]:
        return [each.bucket if isinstance(each, InputBucket) else each for each in self.buckets]

    def _check_runtime(
        self, faults: Faults, *, scope: Construct, output_bucket: s3.IBucket | None
    ) -> None:
        """Check what only a runtime knows.

        Args:
            faults: Where to record what is wrong.
            scope: Where the runtime is made.
            output_bucket: The API's, where the API is known.
        """
        here = Stack.of(scope).region
        for index, bucket in enumerate(self._all_buckets()):
            name = f"input_images.buckets[{index}]"
            faults.check(
                output_bucket is None or bucket.node.path != output_bucket.node.path,
                f"{name} is the API's output bucket, which is read anyway",
            )
            there = bucket.env.region
            faults.check(
                is_token(here) or is_token(there) or here == there,
                f"{name} is in {there}, and the runtime in {here}: in one region",
            )

    def _check_buckets(self, faults: Faults) -> None:
        if not _check_sequence(faults, "buckets", self.buckets, "buckets, such as (uploads,)"):
            return
        paths = []
        for index, each in enumerate(self.buckets):
            name = f"buckets[{index}]"
            if isinstance(each, InputBucket):
                paths.append((each.bucket.node.path, each.prefix))
            elif faults.check_has(name, each, "bucket_arn", _BUCKET_HINT):
                paths.append((each.node.path, ""))
        for (path, prefix), times in Counter(paths).items():
            part = f" under {prefix!r}" if prefix else ""
            faults.check(times == 1, f"buckets names {path!r}{part} {times} times")
            faults.check(
                not prefix or (path, "") not in paths,
                f"buckets names {path!r} as a whole and{part}: one of the two",
            )

    def _check_hosts(self, faults: Faults) -> None:
        hint = "names of hosts, such as ('images.example.com',)"
        if not _check_sequence(faults, "hosts", self.hosts, hint):
            return
        for host, times in Counter(map(str, self.hosts)).items():
            faults.check(
                is_token(host) or is_host_name(host), f"hosts names {shown(host)}: {_HOST_SAYS}"
            )
            faults.check(times == 1, f"hosts names {host!r} {times} times")

    def _check_limits(self, faults: Faults) -> None:
        hint = "a Size, such as Size.mebibytes(20)"
        if faults.check_type("max_size", self.max_size, Size, hint, optional=True):
            assert self.max_size is not None
            if self.max_size.is_unresolved():
                faults.check(False, "max_size is a token: it must be known at synthesis")
            else:
                size = _bytes(self.max_size)
                faults.check(
                    _LEAST_BYTES <= size <= _MOST_BYTES,
                    f"max_size is {size} bytes: {_LEAST_BYTES} to {_MOST_BYTES}",
                )
        if faults.check_type("max_pixels", self.max_pixels, int, A_WHOLE_NUMBER, optional=True):
            assert self.max_pixels is not None
            faults.check(
                _LEAST_PIXELS <= self.max_pixels <= _MOST_PIXELS,
                f"max_pixels is {self.max_pixels}: {_LEAST_PIXELS} to {_MOST_PIXELS}",
            )


def _check_sequence(faults: Faults, name: str, value: object, hint: str) -> bool:
    if isinstance(value, str) or not isinstance(value, Sequence):
        faults.check(False, f"{name} is {shown(value)}: {hint}")
        return False
    faults.check(len(value) <= MAX_PLACES, f"{name} has {len(value)} entries: at most {MAX_PLACES}")
    return True


def _is_prefix(prefix: str) -> bool:
    folders = prefix.split("/")
    return (
        folders.pop() == ""
        and bool(folders)
        and "" not in folders[:1]
        and {".", ".."}.isdisjoint(folders)
        and _WILDCARDS.isdisjoint(prefix)
        and prefix.isprintable()
        and len(prefix.encode()) < _MAX_PREFIX_BYTES
    )


def _bytes(size: Size) -> int:
    return int(size.to_bytes(rounding=SizeRoundingBehavior.FLOOR))
