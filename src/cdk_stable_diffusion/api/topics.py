"""The two topics: accepted tasks on their way to a runtime, and results on their way back."""

from __future__ import annotations

from typing import cast

from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from .marks import mark

AWS_MANAGED_KEY = "alias/aws/sns"
"""Costs nothing a month, and whoever may publish in the account may use it without a key policy."""


def make_topic(scope: Construct, id: str, *, kind: str, key: kms.IKey | None) -> sns.Topic:
    """Make an encrypted topic that takes messages over TLS only.

    Args:
        scope: Where.
        id: Its id.
        kind: Its mark in the template.
        key: Key of one's own, or None for the AWS managed key.
    """
    topic = sns.Topic(scope, id, enforce_ssl=True, master_key=key)
    if key is None:
        cast("sns.CfnTopic", topic.node.default_child).kms_master_key_id = AWS_MANAGED_KEY
    mark(topic, kind)
    return topic
