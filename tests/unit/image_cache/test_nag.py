"""cdk-nag finds nothing in a cache."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import App, Environment, Stack

from cdk_stable_diffusion.runtime.image import RuntimeImage
from cdk_stable_diffusion.runtime.image_cache import ImageCache
from tests.nag.nag import recommended_flags, unresolved_findings
from tests.unit.image_cache.scene import image, network

SOMEWHERE = Environment(account="123456789012", region="eu-west-1")


@pytest.mark.parametrize(
    ("flags", "env"),
    [({}, None), (recommended_flags(), SOMEWHERE)],
    ids=["anywhere-no-flags", "somewhere-all-flags"],
)
def test_a_cache_is_clean(flags: dict[str, Any], env: Environment | None) -> None:
    app = App(context=flags)
    stack = Stack(app, "Service", env=env)
    ImageCache(stack, "Cache", images=[RuntimeImage.from_package(), image()], vpc=network(stack))
    assert [str(each) for each in unresolved_findings(app)] == []
