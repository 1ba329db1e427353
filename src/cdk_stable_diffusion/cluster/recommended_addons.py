"""The add-ons that a cluster has unless it is told otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .._validation import Faults, is_token, shown
from .addon import Addon, PodIdentity
from .metrics_log import METRICS_LOG, METRICS_LOG_FILE
from .versions import VERSIONS

ON_EVERY_NODE = ("eks-pod-identity-agent", "vpc-cni", "kube-proxy")
"""Daemon sets, without which a node is not ready."""

REQUIRED = (*ON_EVERY_NODE, "coredns")
"""Add-ons without which no pod works."""

IN_AUTO_MODE = (*REQUIRED, "eks-node-monitoring-agent")
"""Add-ons whose work EKS Auto Mode does itself."""

_EVERY_TAINT = [{"operator": "Exists"}]
"""Tolerations for what must run on every node; GPU nodes have the taints of their runtimes."""


RECOMMENDED = (
    Addon(
        name="vpc-cni",
        configuration={"enableNetworkPolicy": "true"},
        pod_identity=PodIdentity(
            service_account="aws-node", managed_policies=("AmazonEKS_CNI_Policy",)
        ),
    ),
    Addon(name="kube-proxy"),
    Addon(name="eks-pod-identity-agent"),
    # Of themselves, these two have the priority system-cluster-critical.
    Addon(name="coredns", configuration={"replicaCount": 2}),
    Addon(name="metrics-server", configuration={"replicas": 2}),
    Addon(
        name="eks-node-monitoring-agent",
        configuration={
            "nodeAgent": {"tolerations": _EVERY_TAINT},
            # It has none of itself, and without it the agent hears nothing of the GPUs.
            "dcgmAgent": {"tolerations": _EVERY_TAINT},
        },
    ),
    Addon(
        name="amazon-cloudwatch-observability",
        configuration={
            "tolerations": _EVERY_TAINT,
            # It would put containers into pods that ask for none, and start those again.
            "manager": {"applicationSignals": {"autoMonitor": {"monitorAllServices": False}}},
            "containerLogs": {
                "fluentBit": {"config": {"extraFiles": {METRICS_LOG_FILE: METRICS_LOG}}}
            },
        },
        pod_identity=PodIdentity(
            service_account="cloudwatch-agent", managed_policies=("CloudWatchAgentServerPolicy",)
        ),
    ),
)
"""What a cluster has unless it is told otherwise."""


def check_addons(
    faults: Faults, changes: object, *, is_auto_mode: bool, has_recommended: bool
) -> None:
    """Record what is wrong with a list of add-ons.

    Args:
        faults: Where to record it.
        changes: The list.
        is_auto_mode: Whether the cluster runs on EKS Auto Mode.
        has_recommended: Whether the cluster gets the recommended add-ons, which the list changes.
    """
    hint = "a list of add-ons, such as [Addon(name='coredns', version='v1.13.2-eksbuild.31')]"
    if not faults.check_type("addons", changes, Sequence, hint, optional=True):
        return
    assert isinstance(changes, Sequence)
    if isinstance(changes, str) or not all(isinstance(each, Addon) for each in changes):
        faults.check(False, f"addons is {shown(changes)}: {hint}")
        return
    twice = sorted(
        name for name, count in Counter(each.name for each in changes).items() if count > 1
    )
    faults.check(not twice, f"addons names {', '.join(twice)} more than once")
    optional = [each.name for each in RECOMMENDED if each.name not in REQUIRED]
    for change in changes:
        if is_auto_mode and change.name in IN_AUTO_MODE:
            faults.check(False, f"addons names {change.name}: EKS Auto Mode has it built in")
        elif change._is_left_out and not has_recommended:
            faults.check(
                False,
                f"addons leaves out {change.name}: nothing is installed but what addons names",
            )
        elif change._is_left_out:
            faults.check(
                change.name in optional,
                f"addons leaves out {change.name}: only {', '.join(optional)} can be left out",
            )
        elif change.name == "kube-proxy" and has_recommended and not is_token(change.version):
            faults.check(
                change.version is None or change.version.startswith(f"v{VERSIONS.kubernetes}."),
                f"addons has kube-proxy {change.version}: it has the version of the cluster, "
                f"{VERSIONS.kubernetes}",
            )


def addons_of(changes: Sequence[Addon], *, is_auto_mode: bool) -> tuple[Addon, ...]:
    """Return the add-ons of a new cluster: the recommended ones, with changes, and others.

    Args:
        changes: The changes and the others.
        is_auto_mode: Whether the cluster runs on EKS Auto Mode.
    """
    changed = {change.name: change for change in changes}
    recommended = [each for each in RECOMMENDED if not (is_auto_mode and each.name in IN_AUTO_MODE)]
    known = {each.name for each in recommended}
    merged = [
        _merged(each, changed[each.name]) if each.name in changed else each for each in recommended
    ]
    others = [change for change in changes if change.name not in known]
    return tuple(each for each in (*merged, *others) if not each._is_left_out)


def recommended(addon: Addon) -> Addon:
    """Return an add-on with what is recommended for it where it says nothing.

    Args:
        addon: The add-on.
    """
    for each in RECOMMENDED:
        if each.name == addon.name:
            return _merged(each, addon)
    return addon


def _merged(own: Addon, change: Addon) -> Addon:
    if change._is_left_out:
        return change
    return Addon(
        name=own.name,
        version=own.version if change.version is None else change.version,
        configuration=_laid_over(own.configuration, change.configuration),
        pod_identity=change.pod_identity or own.pod_identity,
    )


def _laid_over(own: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(own)
    for key, value in change.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = _laid_over(before, value)
        else:
            merged[key] = value
    return merged
