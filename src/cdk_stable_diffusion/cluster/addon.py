"""An add-on of EKS."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aws_cdk import aws_iam as iam

from .._validation import Faults, is_token, shown

_NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
_POLICY_NAME = re.compile(r"([\w+=,.@-]+/)*[\w+=,.@-]+")
_VERSION = re.compile(r"v\d+(\.\d+)+(-[0-9A-Za-z.]+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class PodIdentity:
    """AWS permissions for the pods of an add-on, by EKS Pod Identity.

    Attributes:
        service_account: Service account of the pods, in the add-on's namespace.
        managed_policies: Names of AWS managed policies for a role that the cluster makes, such as
            "service-role/AmazonEBSCSIDriverPolicy". Default: none; then `role` is given.
        role: A role of your own, which ``pods.eks.amazonaws.com`` may assume and tag the session
            of. Default: none; then `managed_policies` are given.
    """

    service_account: str
    managed_policies: Sequence[str] = ()
    role: iam.IRole | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: Naming every value that is wrong.
        """
        faults = Faults()
        faults.check_type(
            "service_account", self.service_account, str, "a name, such as 'aws-node'"
        )
        hint = "a list of names, such as ['AmazonEKS_CNI_Policy']"
        if faults.check_type("managed_policies", self.managed_policies, (list, tuple), hint):
            object.__setattr__(self, "managed_policies", tuple(self.managed_policies))
            for policy in self.managed_policies:
                if faults.check_type("managed_policies", policy, str, hint):
                    faults.check(
                        is_token(policy) or bool(_POLICY_NAME.fullmatch(policy)),
                        f"managed_policies has {policy!r}: the name of a policy of AWS, such as "
                        "'AmazonEKS_CNI_Policy', not an ARN; a policy of your own goes with `role`",
                    )
        faults.check_has(
            "role", self.role, "role_arn", "a role, such as an iam.Role", optional=True
        )
        faults.check(
            bool(self.managed_policies) != (self.role is not None),
            "managed_policies or role: exactly one of them is given",
        )
        faults.raise_if_any("PodIdentity")


@dataclass(frozen=True, kw_only=True, slots=True)
class Addon:
    """An add-on that EKS installs, or what to change in one that the cluster has anyway.

    Every cluster has vpc-cni, kube-proxy, eks-pod-identity-agent and coredns and, unless it is told
    otherwise, metrics-server, eks-node-monitoring-agent and amazon-cloudwatch-observability. In one
    of these, what is not given here stays as it is, and the configuration is laid over its own. On
    EKS Auto Mode only metrics-server and amazon-cloudwatch-observability are add-ons; the others
    are built in, and refused.

    Example:
        >>> Addon(name="coredns", configuration={"replicaCount": 3}).name
        'coredns'

    Attributes:
        name: Its name, as in ``aws eks describe-addon-versions``.
        version: Its build, such as "v1.13.2-eksbuild.31". Default: the build that
            `cdk_stable_diffusion.cluster.VERSIONS` pins; for an add-on that it does not know, and
            in a cluster of your own, the default of EKS.
        configuration: Its configuration values. EKS refuses those that the build's schema does not
            have. Default: none.
        pod_identity: AWS permissions of its pods. Default: none.
    """

    name: str
    version: str | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    pod_identity: PodIdentity | None = None
    _is_left_out: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: Naming every value that is wrong.
        """
        faults = Faults()
        if faults.check_type("name", self.name, str, "a name, such as 'coredns'"):
            faults.check(
                bool(_NAME.fullmatch(self.name)),
                f"name is {self.name!r}: lower-case words with hyphens, such as 'coredns'",
            )
        hint = "a build, such as 'v1.13.2-eksbuild.31'"
        if faults.check_type("version", self.version, str, hint, optional=True, tokens=True):
            version = self.version or ""
            is_version = is_token(version) or bool(_VERSION.fullmatch(version))
            faults.check(is_version, f"version is {version!r}: {hint}")
        hint = "values by name, such as {'replicaCount': 3}"
        if faults.check_type("configuration", self.configuration, Mapping, hint):
            _check_configuration(faults, "configuration", self.configuration)
        faults.check_type(
            "pod_identity", self.pod_identity, PodIdentity, "a PodIdentity", optional=True
        )
        faults.raise_if_any(f"Addon {shown(self.name)}")

    @classmethod
    def left_out(cls, name: str) -> Addon:
        """Leave out an add-on that the cluster would have.

        Args:
            name: metrics-server, eks-node-monitoring-agent or amazon-cloudwatch-observability.

        Returns:
            The choice.
        """
        addon = cls(name=name)
        object.__setattr__(addon, "_is_left_out", True)
        return addon


def _check_configuration(faults: Faults, where: str, value: object) -> None:
    match value:
        case Mapping():
            for key, item in value.items():
                faults.check(isinstance(key, str), f"{where} has the key {shown(key)}: text")
                _check_configuration(faults, f"{where}.{key}", item)
        case list() | tuple():
            for index, item in enumerate(value):
                _check_configuration(faults, f"{where}[{index}]", item)
        case None:
            faults.check(False, f"{where} is None: leave it out instead")
        case _:
            is_value = isinstance(value, (str, int, float)) or is_token(value)
            faults.check(is_value, f"{where} is {shown(value)}: text, a number or true or false")
