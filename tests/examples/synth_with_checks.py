"""Runs a CDK app with cdk-nag and SdValidation attached: ``python synth_with_checks.py APP.py``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks, NIST80053R5Checks

from cdk_stable_diffusion import SdValidation

_synth = cdk.App.synth


def synth_with_checks(app: cdk.App, **options: bool) -> object:
    cdk.Validations.of(app).add_plugins(
        AwsSolutionsChecks(app), NIST80053R5Checks(app), SdValidation()
    )
    return _synth(app, **options)


cdk.App.synth = synth_with_checks  # type: ignore[method-assign,assignment]
sys.path.insert(0, str(Path(sys.argv[1]).parent))
runpy.run_path(sys.argv[1], run_name="__main__")
