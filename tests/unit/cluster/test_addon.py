"""Add-ons: which values they take, and how a list of them changes what a cluster has."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aws_cdk import Fn
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.cluster import VERSIONS, Addon, PodIdentity
from cdk_stable_diffusion.cluster.recommended_addons import (
    RECOMMENDED,
    REQUIRED,
    addons_of,
    recommended,
)

OPTIONAL = [addon.name for addon in RECOMMENDED if addon.name not in REQUIRED]
VALUES = st.recursive(
    st.text(max_size=3) | st.integers() | st.booleans(),
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=3)
    ),
    max_leaves=6,
)
CONFIGURATIONS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def named(name: str, addons: tuple[Addon, ...]) -> Addon:
    (found,) = (addon for addon in addons if addon.name == name)
    return found


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"name": "CoreDNS"}, "name is 'CoreDNS': lower-case words with hyphens"),
        ({"name": 1}, "Addon 1: name is 1: a name, such as 'coredns'"),
        ({"version": "1.13.2"}, "version is '1.13.2': a build, such as 'v1.13.2-eksbuild.31'"),
        ({"version": "latest"}, "version is 'latest': a build"),
        ({"version": 1}, "version is 1: a build"),
        ({"configuration": [1]}, "configuration is [1]: values by name"),
        ({"configuration": {1: 2}}, "configuration has the key 1: text"),
        ({"configuration": {"a": None}}, "configuration.a is None: leave it out instead"),
        ({"configuration": {"a": [{"b": None}]}}, "configuration.a[0].b is None"),
        ({"configuration": {"a": {"b": object}}}, "configuration.a.b is the class object: text"),
        ({"pod_identity": "role"}, "pod_identity is 'role': a PodIdentity"),
    ],
)
def test_an_addon_refuses(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as error:
        Addon(**{"name": "coredns", **values})
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "managed_policies or role: exactly one of them is given"),
        ({"managed_policies": "AmazonEKS_CNI_Policy"}, "managed_policies is 'AmazonEKS_CNI_Po"),
        ({"managed_policies": (1,)}, "managed_policies is 1: a list of names"),
        (
            {"managed_policies": ["arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"]},
            "managed_policies has 'arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy': the name of a "
            "policy of AWS, such as 'AmazonEKS_CNI_Policy', not an ARN",
        ),
        ({"role": "arn"}, "role is 'arn': a role, such as an iam.Role"),
        ({"service_account": 1}, "service_account is 1: a name"),
    ],
)
def test_a_pod_identity_refuses(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        PodIdentity(**{"service_account": "aws-node", **values})


@pytest.mark.parametrize(
    "name",
    ["AmazonEKS_CNI_Policy", "service-role/AmazonEBSCSIDriverPolicy", "job-function/Billing"],
)
def test_a_pod_identity_takes_names_of_policies_in_a_list(name: str) -> None:
    identity = PodIdentity(service_account="aws-node", managed_policies=[name])
    assert identity == PodIdentity(service_account="aws-node", managed_policies=(name,))
    assert identity.managed_policies == (name,)


def test_a_policy_may_be_known_at_deployment_only() -> None:
    policy = Fn.import_value("Policy")
    identity = PodIdentity(service_account="aws-node", managed_policies=[policy])
    assert identity.managed_policies == (policy,)


def test_a_version_may_be_known_at_deployment_only() -> None:
    version = Fn.import_value("Version")
    assert Addon(name="kube-proxy", version=version).version == version


def test_a_cluster_has_the_seven_of_the_table() -> None:
    addons = addons_of((), is_auto_mode=False)
    assert [addon.name for addon in addons] == [name for name, _ in VERSIONS.addons]
    assert len(addons) == 7


def test_auto_mode_has_those_that_are_not_built_in() -> None:
    assert [addon.name for addon in addons_of((), is_auto_mode=True)] == [
        "metrics-server",
        "amazon-cloudwatch-observability",
    ]


@given(st.sets(st.sampled_from(OPTIONAL)))
def test_optional_ones_can_be_left_out(names: set[str]) -> None:
    addons = addons_of([Addon.left_out(name) for name in names], is_auto_mode=False)
    assert {addon.name for addon in addons} == {each.name for each in RECOMMENDED} - names


def test_another_one_comes_after_them() -> None:
    driver = Addon(name="aws-ebs-csi-driver", version="v1.66.0-eksbuild.1")
    assert addons_of([driver], is_auto_mode=False) == (*RECOMMENDED, driver)


def test_a_change_of_version_keeps_the_rest() -> None:
    change = Addon(name="vpc-cni", version="v1.23.2-eksbuild.1")
    changed = named("vpc-cni", addons_of([change], is_auto_mode=False))
    assert changed.version == "v1.23.2-eksbuild.1"
    assert changed.configuration == {"enableNetworkPolicy": "true"}
    assert changed.pod_identity is not None
    assert changed.pod_identity.managed_policies == ("AmazonEKS_CNI_Policy",)


def test_a_configuration_is_laid_over_ours() -> None:
    change = Addon(
        name="amazon-cloudwatch-observability",
        configuration={
            "tolerations": [{"key": "mine", "operator": "Exists"}],
            "manager": {"applicationSignals": {"autoMonitor": {"restartPods": False}}},
        },
    )
    changed = named(change.name, addons_of([change], is_auto_mode=False))
    ours = dict(changed.configuration)
    assert ours.pop("containerLogs")
    assert ours == {
        "tolerations": [{"key": "mine", "operator": "Exists"}],
        "manager": {
            "applicationSignals": {
                "autoMonitor": {"monitorAllServices": False, "restartPods": False}
            }
        },
    }


def test_a_pod_identity_replaces_ours() -> None:
    identity = PodIdentity(service_account="aws-node", managed_policies=("Mine",))
    change = Addon(name="vpc-cni", pod_identity=identity)
    assert named("vpc-cni", addons_of([change], is_auto_mode=False)).pod_identity is identity


@given(CONFIGURATIONS)
def test_what_a_change_says_holds(configuration: dict[str, Any]) -> None:
    changed = recommended(Addon(name="coredns", configuration=configuration)).configuration
    assert {key: changed[key] for key in configuration} == configuration
    assert changed["replicaCount"] == 2


@given(CONFIGURATIONS)
def test_of_another_addon_nothing_is_recommended(configuration: dict[str, Any]) -> None:
    addon = Addon(name="cert-manager", configuration=configuration)
    assert recommended(addon) is addon
