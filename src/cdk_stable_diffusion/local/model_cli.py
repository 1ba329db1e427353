"""``sd-model``: put models into a model bucket."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..contract import InvalidModel
from ..contract.keys import model_prefix
from ..contract.model_kind import KIND_IN_WORDS
from ..contract.names import MODEL_NAME_SAYS, is_model_name
from .aws import REGION
from .errors import LocalError
from .installation import version

_SCHEME = "s3://"
_NO_CREDENTIALS = (
    "no AWS credentials are set; for the service of 'sd-local up', set AWS_ENDPOINT_URL to its "
    "aws_endpoint_url, AWS_ACCESS_KEY_ID=test, AWS_SECRET_ACCESS_KEY=test and "
    f"AWS_REGION={REGION}"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line. Default: that of the process.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (LocalError, InvalidModel) as error:
        print(f"sd-model: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sd-model", description="Manage models in S3.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    push = commands.add_parser(
        "push",
        help="upload a model, or what is added to one",
        description="Upload a model's directory with its manifest, so that runtimes can load "
        "it; or a LoRA adapter, a textual inversion embedding or a VAE, for requests to add to a "
        "model. What it is, the files tell. Credentials and region are those of the AWS SDK.",
    )
    push.add_argument(
        "directory",
        type=Path,
        help="as diffusers' save_pretrained writes it; or a .safetensors file with a whole "
        "model or what is added to one, or its directory",
    )
    push.add_argument("bucket", type=_bucket, metavar="s3://BUCKET", help="the model bucket")
    push.add_argument("--name", help="its name (default: the directory's or the file's)")
    push.set_defaults(run=_push)
    return parser


def _push(options: argparse.Namespace) -> int:
    import boto3
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )
    from rich.console import Console

    from .publishing import default_name, publish_model

    if not options.directory.exists():
        raise LocalError(f"{options.directory} is not there")
    name = options.name if options.name is not None else default_name(options.directory)
    if not is_model_name(name):
        raise LocalError(
            f"no model can be called {name!r}: {MODEL_NAME_SAYS}; choose another with --name"
        )
    console = Console(stderr=True)
    try:
        manifest = publish_model(
            options.directory,
            options.bucket,
            boto3.client("s3"),
            name=name,
            progress=lambda path, size: console.print(f"{size:>15,} {path}", highlight=False),
        )
    except (NoCredentialsError, PartialCredentialsError):
        raise LocalError(_NO_CREDENTIALS) from None
    except (BotoCoreError, ClientError, S3UploadFailedError) as error:
        if _code(error) == "NoSuchBucket":
            raise LocalError(f"there is no bucket {options.bucket}") from None
        raise LocalError(" ".join(str(error).split())) from None
    console.print(f"{manifest.name} is {KIND_IN_WORDS[manifest.kind]}", highlight=False)
    print(f"{_SCHEME}{options.bucket}/{model_prefix(manifest.name)}")
    return 0


def _code(error: BaseException) -> str | None:
    """Return the service's error code, also from within the failure of an upload."""
    answer: Any = getattr(error, "response", None) or getattr(error.__context__, "response", None)
    code = (answer or {}).get("Error", {}).get("Code")
    return code if isinstance(code, str) else None


def _bucket(text: str) -> str:
    name = text.removeprefix(_SCHEME).rstrip("/")
    if not text.startswith(_SCHEME) or not name or "/" in name:
        raise argparse.ArgumentTypeError("must be s3://BUCKET, without a path")
    return name


if __name__ == "__main__":
    sys.exit(main())
