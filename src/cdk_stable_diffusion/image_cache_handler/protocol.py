"""What the construct, its state machines and these functions call the same thing."""

from __future__ import annotations

CACHE_TAG = "sd.image-cache/name"
"""Tag with the cache that an instance, a volume or a snapshot belongs to."""

KEY_TAG = "sd.image-cache/key"
"""Tag with the digest of everything that a snapshot was made from."""

BUILD_TAG = "sd.image-cache/build"
"""Tag with the build, which is an execution of the state machine, that made something."""

STATE_MACHINE_VARIABLE = "SD_IMAGE_CACHE_STATE_MACHINE_ARN"
"""Environment variable with the state machine that builds."""

RECIPE = 1
"""Raised whenever the same images have to be cached in another way: then all is built anew."""

REGISTRY = "registry"
"""An image that somebody published: only its digest says which."""

ASSET = "asset"
"""An image that the AWS CDK published: its tag is a hash of its content."""
