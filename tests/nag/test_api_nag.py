"""cdk-nag has nothing to say against an SdApi, whatever its arguments."""

from __future__ import annotations

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms

from cdk_stable_diffusion.api import Quota, SdApi
from tests.nag.nag import audit, unresolved_findings


@pytest.mark.parametrize("rich", [False, True])
def test_an_api_is_clean(rich: bool) -> None:
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    if rich:
        api = SdApi(
            stack,
            "Api",
            encryption_key=kms.Key(stack, "Key", enable_key_rotation=True),
            log_encryption_key=kms.Key(stack, "LogKey", enable_key_rotation=True),
            output_lifecycle=cdk.Duration.days(7),
            quota=Quota(requests=1000),
            account_log_role=False,
        )
    else:
        api = SdApi(stack, "Api")
    api.routes.add_dynamic("any")
    api.add_result_queue("Results", status="failed")
    assert [str(finding) for finding in unresolved_findings(app)] == []


KEY_FINDINGS = {
    "NIST.800.53.R5-CloudWatchLogGroupEncrypted",
    "NIST.800.53.R5-S3DefaultEncryptionKMS",
}


@pytest.mark.parametrize("keys", [False, True])
def test_a_key_is_spoken_of_only_where_there_is_none(keys: bool) -> None:
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    key = kms.Key(stack, "Key", enable_key_rotation=True) if keys else None
    SdApi(stack, "Api", encryption_key=key, log_encryption_key=key)
    acknowledged = {each.rule for each in audit(app).acknowledgements}
    assert KEY_FINDINGS & acknowledged == (set() if keys else KEY_FINDINGS)
