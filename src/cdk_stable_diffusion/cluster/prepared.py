"""That a cluster is prepared for runtimes once, however many constructs stand for it."""

from __future__ import annotations

from typing import cast

from aws_cdk import Stack
from constructs import Construct

from .._validation import is_token
from .interface import AnyCluster


def is_prepared(cluster: AnyCluster) -> bool:
    """Tell whether a cluster is prepared for runtimes already.

    Args:
        cluster: The cluster, made or imported.
    """
    return cluster.node.root.node.try_find_child(_mark(cluster)) is not None


def mark_prepared(cluster: AnyCluster) -> None:
    """Note that a cluster is prepared for runtimes.

    Args:
        cluster: The cluster, made or imported.
    """
    # It makes nothing. What is in the tree of constructs is found from every stack of the app.
    Construct(cast("Construct", cluster.node.root), _mark(cluster))


def _mark(cluster: AnyCluster) -> str:
    """Return the identifier of what marks a cluster at the root of the app."""
    name = cluster.cluster_name
    if is_token(name):
        return f"Prepared cluster {cluster.node.path}"
    # One that is imported twice, say in two stacks, has two constructs and one name. Stacks that
    # are not bound to an environment may go to different ones.
    stack = Stack.of(cluster)
    is_bound = not is_token(stack.account) and not is_token(stack.region)
    place = stack.environment if is_bound else stack.node.path
    return f"Prepared cluster {name} in {place}"
