"""How local code reaches the emulator: endpoint, region and stand-in credentials."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

REGION = "us-east-1"
ACCOUNT = "000000000000"

_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@dataclass(frozen=True, kw_only=True, slots=True)
class AwsAccess:
    """Where the emulated AWS is.

    Attributes:
        endpoint_url: Base URL of every service.
        region: Region of every resource.
    """

    endpoint_url: str
    region: str = REGION

    def client(self, service: str) -> Any:
        """Return a boto3 client for a service of the emulator.

        The user's own profiles, endpoints and credentials are not consulted: what is meant for the
        emulator can never reach a real account.

        Args:
            service: Name of the service, such as "sqs".
        """
        import boto3
        from botocore.config import Config

        session: Any = boto3.Session()  # Its stubs name every service; this takes any.
        return session.client(
            service,
            region_name=self.region,
            endpoint_url=self.endpoint_url,
            aws_access_key_id=_CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(
                retries={"total_max_attempts": 3},
                s3={"addressing_style": "path"},
                max_pool_connections=32,
                proxies={},
            ),
        )

    def environment(self) -> dict[str, str]:
        """Return the variables that send an AWS SDK in another process to the emulator."""
        return {
            **_CREDENTIALS,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            **ISOLATION,
        }


ISOLATION = {
    # The user's own configuration must not send anything elsewhere.
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
}

USER_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN")
"""Variables of the user's shell that would lead an SDK past the emulator."""
