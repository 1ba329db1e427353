"""``sd-model``: put models into a model bucket."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..contract import InvalidModel
from ..contract.keys import model_prefix
from .errors import LocalError

_SCHEME = "s3://"


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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    push = commands.add_parser(
        "push",
        help="upload a model",
        description="Upload a diffusers directory with its manifest, so that runtimes can load "
        "it. Credentials and region are those of the AWS SDK.",
    )
    push.add_argument("directory", type=Path, help="as diffusers' save_pretrained writes it")
    push.add_argument("bucket", type=_bucket, metavar="s3://BUCKET", help="the model bucket")
    push.add_argument("--name", help="the model's name (default: the directory's)")
    push.set_defaults(run=_push)
    return parser


def _push(options: argparse.Namespace) -> int:
    import boto3
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError
    from rich.console import Console

    from .publishing import publish_model

    if not options.directory.is_dir():
        raise LocalError(f"{options.directory} is no directory")
    console = Console(stderr=True)
    try:
        manifest = publish_model(
            options.directory,
            options.bucket,
            boto3.client("s3"),
            name=options.name,
            progress=lambda path, size: console.print(f"{size:>15,} {path}", highlight=False),
        )
    except (BotoCoreError, ClientError, S3UploadFailedError) as error:
        raise LocalError(str(error)) from None
    print(f"{_SCHEME}{options.bucket}/{model_prefix(manifest.name)}")
    return 0


def _bucket(text: str) -> str:
    name = text.removeprefix(_SCHEME).rstrip("/")
    if not text.startswith(_SCHEME) or not name or "/" in name:
        raise argparse.ArgumentTypeError("must be s3://BUCKET, without a path")
    return name


if __name__ == "__main__":
    sys.exit(main())
