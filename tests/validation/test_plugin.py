"""SdValidation at synthesis: what it reads, what it reports, and what it lets pass."""

from __future__ import annotations

import subprocess
import sys

import pytest
from aws_cdk import Acknowledgment, App, Fn, NestedStack, Stack, Stage, Token, Validations
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_sqs as sqs

from cdk_stable_diffusion.validation import SdValidation
from tests.validation.apps import new_stack, report_of, some_cluster
from tests.validation.samples import Resource, container, sample, trigger, volume


def apply(stack: Stack, id: str, *resources: Resource) -> eks.KubernetesManifest:
    cluster = stack.node.try_find_child("Cluster") or some_cluster(stack)
    return eks.KubernetesManifest(
        stack,
        id,
        cluster=cluster,  # type: ignore[arg-type]
        manifest=list(resources),
    )


def misspelt(name: str = "agent") -> Resource:
    def change(it: Resource) -> None:
        it["metadata"]["name"] = name
        container(it).update(imag="x")

    return sample("Deployment", change)


def test_what_is_right_passes_in_silence() -> None:
    stack = new_stack()
    apply(stack, "Right", sample("Deployment"), sample("NodePool"))
    assert report_of(stack) is None


def test_a_fault_is_reported_with_its_construct_its_manifest_and_its_field() -> None:
    stack = new_stack()
    apply(stack, "Wrong", misspelt())
    report = report_of(stack)
    assert report is not None
    (violation,) = report["violations"]
    field = "spec.template.spec.containers[0].imag"
    assert violation["ruleName"] == "schema"
    assert violation["severity"] == "error"
    assert violation["description"] == (
        f"Deployment agent: {field}: is no known field; did you mean 'image'?"
    )
    assert violation["ruleMetadata"] == {"manifest": "Deployment agent", "field": field}
    (where,) = violation["violatingConstructs"]
    assert where["constructPath"].startswith("Work/Wrong/")
    assert where["cloudFormationResource"]["templatePath"] == "Work.template.json"
    assert where["cloudFormationResource"]["logicalId"].startswith("Wrong")


def test_every_fault_of_every_manifest_is_reported() -> None:
    stack = new_stack()
    apply(stack, "One", misspelt("one"), misspelt("two"))
    apply(stack, "Other", sample("EC2NodeClass", lambda it: it["spec"].update(role="nodes")))
    report = report_of(stack)
    assert report is not None
    assert [each["ruleMetadata"]["manifest"] for each in report["violations"]] == [
        "Deployment one",
        "Deployment two",
        "EC2NodeClass gpu",
    ]
    assert report["metadata"] == {"checked": "3", "not judged": "0"}


def test_references_to_other_resources_are_no_faults() -> None:
    stack = new_stack()
    queue = sqs.Queue(stack, "Queue")
    snapshot = Fn.import_value("Snapshot")
    apply(
        stack,
        "Scaled",
        sample("ScaledObject", lambda it: trigger(it).update(queueURL=queue.queue_url)),
        sample("ScaledObject", lambda it: it["spec"].update(maxReplicaCount=_number("Most"))),
        sample("EC2NodeClass", lambda it: volume(it).update(snapshotID=snapshot)),
    )
    assert report_of(stack) is None


def _number(name: str) -> float:
    return Token.as_number({"Ref": name})


def test_references_between_stacks_are_no_faults() -> None:
    stack = new_stack()
    app = stack.node.root
    assert isinstance(app, App)
    queue = sqs.Queue(Stack(app, "Queues"), "Queue")
    apply(
        stack,
        "Scaled",
        sample("ScaledObject", lambda it: trigger(it).update(queueURL=queue.queue_url)),
    )
    assert report_of(stack) is None


class TestKindsOfOtherMakers:
    WIDGET: Resource = {  # noqa: RUF012
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "it"},
        "anything": [1, 2],
    }

    def test_they_are_counted_and_fail_nothing(self) -> None:
        stack = new_stack()
        apply(stack, "Widgets", self.WIDGET, self.WIDGET)
        apply(stack, "Right", sample("Deployment"))
        report = report_of(stack)
        assert report is not None
        assert report["conclusion"] == "success"
        (note,) = report["violations"]
        assert note["ruleName"] == "not-judged"
        assert note["severity"] == "info"
        assert note["description"].startswith("2 manifests not judged")
        assert "Widget of example.com/v1" in note["description"]
        assert report["metadata"] == {"checked": "1", "not judged": "2"}

    def test_the_note_can_be_acknowledged(self) -> None:
        stack = new_stack()
        apply(stack, "Widgets", self.WIDGET)
        Validations.of(stack).acknowledge(
            Acknowledgment(id="SdValidation::not-judged", reason="the widgets' own tests do it")
        )
        report = report_of(stack)
        assert report is not None
        assert report["violations"] == []


def test_a_fault_can_be_acknowledged_where_it_is() -> None:
    stack = new_stack()
    Validations.of(apply(stack, "Known", misspelt())).acknowledge(
        Acknowledgment(id="SdValidation::schema", reason="the webhook of this cluster takes it")
    )
    report = report_of(stack)
    assert report is not None
    assert report["conclusion"] == "success"
    assert report["violations"] == []


def test_an_acknowledged_fault_hides_no_other() -> None:
    stack = new_stack()
    Validations.of(apply(stack, "Known", misspelt())).acknowledge(
        Acknowledgment(id="SdValidation::schema", reason="the webhook of this cluster takes it")
    )
    apply(stack, "Wrong", misspelt("other"))
    report = report_of(stack)
    assert report is not None
    assert report["conclusion"] == "failure"
    (violation,) = report["violations"]
    assert violation["ruleMetadata"]["manifest"] == "Deployment other"


def test_what_cannot_be_read_is_reported() -> None:
    stack = new_stack()
    apply(stack, "Half", {"kind": "Deployment", "metadata": {"name": "it"}})
    report = report_of(stack)
    assert report is not None
    (violation,) = report["violations"]
    assert "lacks an apiVersion" in violation["description"]


def test_what_is_no_resource_hides_no_fault_of_the_others() -> None:
    stack = new_stack()
    half = {"kind": "Deployment", "metadata": {"name": "it"}}
    apply(stack, "Mixed", misspelt("one"), half, misspelt("two"))
    report = report_of(stack)
    assert report is not None
    assert [
        (each["ruleMetadata"]["manifest"], each["ruleMetadata"]["field"])
        for each in report["violations"]
    ] == [
        ("Deployment one", "spec.template.spec.containers[0].imag"),
        ("Deployment two", "spec.template.spec.containers[0].imag"),
        ("the manifest", "Manifest[1]"),
    ]


def test_a_resource_of_a_generated_name_is_called_by_what_it_begins_with() -> None:
    stack = new_stack()
    apply(stack, "Wrong", sample("Job", lambda it: it.update(spek={})))
    report = report_of(stack)
    assert report is not None
    (violation,) = report["violations"]
    assert violation["ruleMetadata"]["manifest"] == "Job once-"


def test_manifests_in_nested_stacks_are_read() -> None:
    stack = new_stack()
    inner = NestedStack(stack, "Inner")
    apply(NestedStack(inner, "Innermost"), "Wrong", misspelt("other"))
    apply(inner, "Wrong", misspelt())
    report = report_of(stack)
    assert report is not None
    found = {
        violation["ruleMetadata"]["manifest"]: where["constructPath"]
        for violation in report["violations"]
        for where in violation["violatingConstructs"]
    }
    assert sorted(found) == ["Deployment agent", "Deployment other"]
    assert found["Deployment agent"].startswith("Work/Inner/Wrong")
    assert found["Deployment other"].startswith("Work/Inner/Innermost/Wrong")


def test_a_stage_can_be_checked_alone() -> None:
    app = App()
    checked, other = Stage(app, "Checked"), Stage(app, "Other")
    Validations.of(checked).add_plugins(SdValidation())
    apply(Stack(other, "Work"), "Wrong", misspelt())
    apply(Stack(checked, "Work"), "Right", sample("Deployment"))
    app.synth()


@pytest.mark.parametrize("package", ["celpy", "jsonschema", "yaml"])
def test_the_extra_is_named_where_it_is_missing(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'cdk-stable-diffusion\[validation\]'"):
        SdValidation()


def test_nothing_of_the_extra_is_loaded_without_the_plugin() -> None:
    code = (
        "import sys, cdk_stable_diffusion.validation.plugin; "
        "print(sorted(set(sys.modules) & {'celpy', 'jsonschema', 'yaml'}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
