"""Runs a CDK app with cdk-nag attached to it: ``python synth_with_nag.py APP.py``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

_synth = cdk.App.synth


def synth_with_nag(app: cdk.App, **options: bool) -> object:
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return _synth(app, **options)


cdk.App.synth = synth_with_nag  # type: ignore[method-assign,assignment]
sys.path.insert(0, str(Path(sys.argv[1]).parent))
runpy.run_path(sys.argv[1], run_name="__main__")
