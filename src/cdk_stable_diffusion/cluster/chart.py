"""How every Helm chart of the cluster is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_eks_v2 as eks
from constructs import Construct, IDependable

from .interface import AnyCluster, as_interface

CHART_TIMEOUT_MINUTES = 10
"""Longest time for a chart to become ready.

The function that runs Helm has 15 minutes. With the rest it rolls back a chart that failed; a chart
that is cut off instead stays in "pending upgrade", where no later deployment can change it.
"""


def install_chart(
    scope: Construct,
    id: str,
    *,
    cluster: AnyCluster,
    name: str,
    repository: str,
    version: str,
    namespace: str,
    values: Mapping[str, Any] | None = None,
    after: Sequence[IDependable],
) -> eks.HelmChart:
    """Install a Helm chart, and wait until what it installs is ready.

    Args:
        scope: Parent construct.
        id: Identifier in the parent.
        cluster: Cluster that gets the chart.
        name: Name of the chart, and of its release.
        repository: An ``https://`` repository, or the whole ``oci://`` address of the chart.
        version: Version of the chart.
        namespace: An existing namespace.
        values: Values of the chart. None in them would be dropped.
        after: What must exist first: by itself, a chart does not even wait for nodes. On deletion,
            these go after the chart.

    Returns:
        The chart.
    """
    chart = eks.HelmChart(
        scope,
        id,
        cluster=as_interface(cluster),
        release=name,
        chart=name,
        repository=repository,
        version=version,
        namespace=namespace,
        create_namespace=False,
        values=values,
        atomic=True,
        wait=True,
        timeout=Duration.minutes(CHART_TIMEOUT_MINUTES),
    )
    chart.node.add_dependency(*after)
    return chart
