"""From a checked request to the bytes of its input images."""

from __future__ import annotations

from typing import Any, Protocol

from ..failure import TaskFailure
from .bucket import read_object
from .data_url import read_data_url
from .https import fetch
from .network import Network
from .picture import check_picture
from .policy import InputPolicy
from .refusal import InputRefused

INPUT_FIELDS = ("image", "mask", "control_image")
"""The fields of a request that refer to pictures: the only ones that are ever fetched."""


class RequestWithInputs(Protocol):
    """What of a request is read here; see `contract.TaskRequest`."""

    @property
    def image(self) -> str | None:
        """Reference to the picture to begin with."""

    @property
    def mask(self) -> str | None:
        """Reference to the mask."""

    @property
    def control_image(self) -> str | None:
        """Reference to the picture that the ControlNet follows."""


class InputImages:
    """Fetches input images. Safe for many threads; keeps nothing."""

    def __init__(self, policy: InputPolicy, s3: Any, network: Network | None = None) -> None:
        """Connect, without a word to anyone.

        Args:
            policy: What is allowed.
            s3: S3 client.
            network: The way to HTTPS hosts. Default: this machine's, without any proxy.
        """
        self._policy = policy
        self._s3 = s3
        self._network = network

    def resolve(self, request: RequestWithInputs) -> dict[str, bytes]:
        """Fetch what a request refers to.

        Args:
            request: The checked request.

        Returns:
            The bytes of each file by the name of its field; empty for a task without input images.
            They begin like a picture of an allowed size, and are otherwise as they came.

        Raises:
            TaskFailure: With the field's name: `input-invalid`, for good where a rule is broken,
                transient where the other side could not answer.
            botocore.exceptions.BotoCoreError: If S3 could not be reached.
            botocore.exceptions.ClientError: If S3 could not answer.
        """
        files = {}
        for field in INPUT_FIELDS:
            reference = getattr(request, field)
            if reference is None:
                continue
            try:
                files[field] = self._read(reference)
            except TaskFailure as failure:
                raise TaskFailure(
                    failure.code, f"{field} {failure.detail}", transient=failure.transient
                ) from None
        return files

    def _read(self, reference: str) -> bytes:
        policy = self._policy
        if reference.startswith("data:"):
            data = read_data_url(reference, max_bytes=policy.max_bytes)
        elif reference.startswith("s3://"):
            data = read_object(reference, policy=policy, s3=self._s3)
        elif reference[:8].lower() == "https://":
            if self._network is None:
                self._network = Network()
            data = fetch(reference, policy=policy, network=self._network)
        else:
            raise InputRefused("must be a data:, s3:// or https:// URL")
        check_picture(data, max_bytes=policy.max_bytes, max_pixels=policy.max_pixels)
        return data
