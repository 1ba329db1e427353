"""Names of resources are what the API server takes for their kind."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_stable_diffusion.validation.checker import faults_of
from cdk_stable_diffusion.validation.fault import Fault
from cdk_stable_diffusion.validation.token import token, untyped_token
from tests.validation.samples import sample


def about_the_name(api_version: str, kind: str, metadata: Any) -> list[Fault]:
    """Return the faults of a resource that has nothing else."""
    resource = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
    return [fault for fault in faults_of(resource) if fault.rule == "name"]


@pytest.mark.parametrize(
    ("api_version", "kind", "name"),
    [
        ("v1", "ConfigMap", "kube-root-ca.crt"),
        ("v1", "ConfigMap", "1"),
        ("v1", "ConfigMap", "a" * 253),
        ("v1", "Namespace", "1st"),
        ("v1", "Namespace", "a" * 63),
        ("v1", "Service", "agent-1"),
        ("apps/v1", "Deployment", "agent.v2"),
        ("batch/v1", "CronJob", "a" * 52),
        ("apiregistration.k8s.io/v1", "APIService", "v1beta1.metrics.k8s.io"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com"),
        ("certificates.k8s.io/v1", "CertificateSigningRequest", "node-csr-aB_c"),
        ("networking.k8s.io/v1", "IPAddress", "2001:db8::1"),
        ("policy/v1", "PodDisruptionBudget", "Any_Name"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", "system:node-Reader"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", "Read Only"),
        ("karpenter.sh/v1", "NodePool", "gpu.large"),
        # Not known yet.
        ("v1", "ConfigMap", token("Name")),
        ("v1", "Namespace", f"A {token('Name')}"),
        ("v1", "ConfigMap", untyped_token("Name")),
    ],
)
def test_names_of_its_kind_are_taken(api_version: str, kind: str, name: str) -> None:
    assert about_the_name(api_version, kind, {"name": name}) == []


@pytest.mark.parametrize(
    ("api_version", "kind", "name", "says"),
    [
        ("v1", "ConfigMap", "My Pod", "must be a DNS subdomain (RFC 1123)"),
        ("v1", "Pod", "A_B", "must be a DNS subdomain (RFC 1123)"),
        ("apps/v1", "Deployment", "-a", "must be a DNS subdomain (RFC 1123)"),
        ("apps/v1", "Deployment", "a..b", "must be a DNS subdomain (RFC 1123)"),
        ("v1", "ConfigMap", "a\n", "must be a DNS subdomain (RFC 1123)"),
        ("v1", "ConfigMap", "a" * 254, "at most 253 characters"),
        ("batch/v1", "CronJob", "a" * 53, "at most 52 characters"),
        ("v1", "Namespace", "a.b", "must be a DNS label (RFC 1123)"),
        ("v1", "Namespace", "a" * 64, "at most 63 characters"),
        ("apps/v1", "StatefulSet", "a.b", "must be a DNS label (RFC 1123)"),
        ("v1", "Service", "1st", "must be a DNS label (RFC 1035)"),
        ("v1", "Service", "a.b", "must be a DNS label (RFC 1035)"),
        ("karpenter.sh/v1", "NodePool", "GPU", "must be a DNS subdomain (RFC 1123)"),
        ("keda.sh/v1alpha1", "ScaledObject", "a_b", "must be a DNS subdomain (RFC 1123)"),
        ("rbac.authorization.k8s.io/v1", "Role", "a/b", "must have neither '/' nor '%'"),
        ("rbac.authorization.k8s.io/v1", "Role", "..", "must have neither '/' nor '%'"),
    ],
)
def test_other_names_are_refused(api_version: str, kind: str, name: str, says: str) -> None:
    (fault,) = about_the_name(api_version, kind, {"name": name})
    assert fault.field == "metadata.name"
    assert fault.says.startswith(f"is {name!r}: ")
    assert says in fault.says


def test_a_generated_name_is_judged_by_what_it_begins_with() -> None:
    assert about_the_name("batch/v1", "Job", {"generateName": "once-"}) == []
    assert about_the_name("batch/v1", "Job", {"generateName": "once"}) == []
    assert about_the_name("batch/v1", "Job", {"generateName": token("Name")}) == []
    (fault,) = about_the_name("batch/v1", "Job", {"generateName": "My Job-"})
    assert fault.field == "metadata.generateName"
    assert "must be a DNS subdomain" in fault.says


@pytest.mark.parametrize("metadata", [{}, {"name": None}, {"name": ""}, {"labels": {}}])
def test_a_resource_has_a_name(metadata: Any) -> None:
    (fault,) = about_the_name("v1", "ConfigMap", metadata)
    assert str(fault) == "metadata.name: is missing"


def test_a_question_to_the_api_server_needs_no_name() -> None:
    assert about_the_name("authentication.k8s.io/v1", "SelfSubjectReview", {}) == []


def test_a_namespace_is_named_as_namespaces_are() -> None:
    assert about_the_name("v1", "Pod", {"name": "it", "namespace": token("Name")}) == []
    (fault,) = about_the_name("v1", "Pod", {"name": "it", "namespace": "my.space"})
    assert fault.field == "metadata.namespace"
    assert "must be a DNS label (RFC 1123)" in fault.says


def test_the_name_of_a_template_is_its_own() -> None:
    """Nothing is made under it."""
    resource = sample("Deployment", lambda it: it["spec"]["template"]["metadata"].update(name="A"))
    assert faults_of(resource) == []
