"""What a runtime synthesises to, beside its Kubernetes resources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aws_cdk import Duration, Stack
from aws_cdk import aws_kms as kms

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.cluster import SdEksCluster
from cdk_stable_diffusion.contract.environment import AgentEnvironment
from cdk_stable_diffusion.runtime import Model, RuntimeImage, SdRuntime
from cdk_stable_diffusion.runtime.image_models import ImageModel
from tests.manifests.compose import (
    IMAGE,
    Template,
    as_list,
    new_app,
    new_service,
    properties,
    quickstart,
    resources,
    statements,
    templates_of,
)
from tests.manifests.template import manifest_of
from tests.unit.runtime.light_cluster import LightCluster


@pytest.fixture(scope="module")
def template() -> Template:
    return quickstart()


def marked(template: Template, mark: str) -> dict[str, dict[str, Any]]:
    """Return the marked resources of a template by identifier."""
    return {
        name: each
        for name, each in template["Resources"].items()
        if each.get("Metadata", {}).get("cdk-stable-diffusion") == mark
    }


def runtime_statements(template: Template, runtime: str) -> dict[str, dict[str, Any]]:
    return {
        statement["Sid"]: statement
        for name, statement in statements(template)
        if name.startswith(runtime) and "Sid" in statement
    }


def agent_environment(template: Template, runtime: str) -> dict[str, str]:
    manifest = manifest_of("Deployment", runtime, template)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def overflow_of(template: Template) -> str:
    (name,) = (each for each in marked(template, "task-queue") if "OverflowQueue" in each)
    return name


class TestQueue:
    def test_local_service_can_find_them(self, template: Template) -> None:
        assert len(marked(template, "task-queue")) == 1 + 16 + 1
        assert len(marked(template, "task-dead-letter-queue")) == 2

    def test_hides_a_task_for_the_longest_task_and_one_lease(self, template: Template) -> None:
        for queue in marked(template, "task-queue").values():
            assert queue["Properties"]["VisibilityTimeout"] == 300 + 30

    def test_gives_up_after_three_times(self, template: Template) -> None:
        for queue in marked(template, "task-queue").values():
            redrive = queue["Properties"]["RedrivePolicy"]
            assert redrive["maxReceiveCount"] == 3 + 1 + 10
            target = redrive["deadLetterTargetArn"]["Fn::GetAtt"][0]
            assert target in marked(template, "task-dead-letter-queue")

    def test_keeps_dead_letters_for_two_weeks(self, template: Template) -> None:
        for queue in marked(template, "task-dead-letter-queue").values():
            assert queue["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3_600

    def test_is_encrypted(self, template: Template) -> None:
        for mark in ("task-queue", "task-dead-letter-queue"):
            for queue in marked(template, mark).values():
                assert queue["Properties"]["SqsManagedSseEnabled"] is True

    def test_lets_only_the_request_topic_send(self, template: Template) -> None:
        for name in marked(template, "task-queue"):
            (policy,) = (
                each["PolicyDocument"]["Statement"]
                for each in properties(template, "AWS::SQS::QueuePolicy")
                if each["Queues"] == [{"Ref": name}]
            )
            allows = [each for each in policy if each["Effect"] == "Allow"]
            if name == overflow_of(template):
                # The pods' role may, and no policy of the queue says so.
                assert allows == []
                continue
            (allowed,) = allows
            assert allowed["Principal"] == {"Service": "sns.amazonaws.com"}
            assert allowed["Action"] == "sqs:SendMessage"
            (topic,) = marked(template, "request-topic")
            assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Ref": topic}}}

    def test_refuses_what_is_not_tls(self, template: Template) -> None:
        for mark in ("task-queue", "task-dead-letter-queue"):
            for name in marked(template, mark):
                (policy,) = (
                    each["PolicyDocument"]["Statement"]
                    for each in properties(template, "AWS::SQS::QueuePolicy")
                    if each["Queues"] == [{"Ref": name}]
                )
                (denied,) = (each for each in policy if each["Effect"] == "Deny")
                assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_rounds_the_longest_task_up(self) -> None:
        service = new_service()
        runtime = service.add_runtime("Any", Model.dynamic(), longest_task=Duration.millis(10_500))
        assert runtime.timing.longest_task_seconds == 11

    def test_times_follow_from_the_longest_task(self) -> None:
        service = new_service()
        runtime = service.add_runtime(
            "Long", Model.dynamic(), longest_task=Duration.minutes(2), max_receive_count=7
        )
        template = service.template()
        for queue in marked(template, "task-queue").values():
            assert queue["Properties"]["VisibilityTimeout"] == 150
            assert queue["Properties"]["RedrivePolicy"]["maxReceiveCount"] == 7 + 1 + 10
        assert runtime.timing.pod_grace_seconds == 150
        environment = agent_environment(template, "long")
        assert environment["SD_TASK_TIMEOUT_SECONDS"] == "120"
        assert environment["SD_MAX_RECEIVE_COUNT"] == "7"


class TestSubscription:
    def test_delivers_raw_messages_to_the_queue_of_each_lane(self, template: Template) -> None:
        queues = {
            each["Endpoint"]["Fn::GetAtt"][0]: each
            for each in properties(template, "AWS::SNS::Subscription")
        }
        assert overflow_of(template) not in queues
        for name in set(marked(template, "task-queue")) - {overflow_of(template)}:
            assert queues[name]["Protocol"] == "sqs"
            assert queues[name]["RawMessageDelivery"] is True

    def test_waits_for_the_right_to_deliver(self, template: Template) -> None:
        waiting = [
            each["DependsOn"]
            for name, each in template["Resources"].items()
            if each["Type"] == "AWS::SNS::Subscription" and name.startswith(("Tiny", "Any"))
        ]
        assert len(waiting) == 1 + 16
        assert all(any("Policy" in name for name in as_list(names)) for names in waiting)


class TestPermissions:
    def test_agent_has_no_others(self, template: Template) -> None:
        found = runtime_statements(template, "TinyShapesRole")
        assert {sid: sorted(as_list(each["Action"])) for sid, each in found.items()} == {
            "TakeTasks": [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:ReceiveMessage",
            ],
            "GiveUpTasks": ["sqs:SendMessage"],
            "PublishResults": ["sns:Publish"],
            "DeliverPictures": ["s3:GetObject", "s3:PutObject"],
            "ForgetReturns": ["s3:DeleteObject"],
            "LoadModels": ["s3:GetObject"],
        }

    def test_agent_takes_only_its_own_tasks(self, template: Template) -> None:
        (queue,) = (name for name in marked(template, "task-queue") if name.startswith("Tiny"))
        taking = runtime_statements(template, "TinyShapesRole")["TakeTasks"]
        assert taking["Resource"] == {"Fn::GetAtt": [queue, "Arn"]}

    def test_agent_deletes_nothing_of_a_clients(self, template: Template) -> None:
        forgetting = runtime_statements(template, "TinyShapesRole")["ForgetReturns"]
        assert forgetting["Resource"]["Fn::Join"][1][-1] == "/.returned/*"

    def test_agent_reads_only_models(self, template: Template) -> None:
        found = runtime_statements(template, "TinyShapesRole")
        assert found["LoadModels"]["Resource"]["Fn::Join"][1][-1] == "/models/*"

    @pytest.mark.parametrize("model", [Model.static("a"), Model.dynamic()])
    def test_agent_may_add_adapters_to_a_model_that_its_image_carries(
        self, tmp_path: Path, model: Model
    ) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        api = SdApi(stack, "Api", encryption_key=kms.Key(stack, "Key"))
        image = RuntimeImage(IMAGE.uri, (ImageModel("a", tmp_path),))
        cluster = LightCluster(stack, "Cluster")
        SdRuntime(stack, "Any", api=api, cluster=cluster, model=model, image=image)
        found = runtime_statements(templates_of(app)["Service"], "AnyRole")
        expected = {"LoadModels", "DecryptModels", "EncryptPictures", "EncryptResults"}
        assert expected <= set(found)

    def test_scaler_reads_only_the_depth_of_the_queue(self, template: Template) -> None:
        (queue,) = (name for name in marked(template, "task-queue") if name.startswith("Tiny"))
        (statement,) = runtime_statements(template, "TinyShapesScalerPolicy").values()
        assert statement["Action"] == "sqs:GetQueueAttributes"
        assert statement["Resource"] == {"Fn::GetAtt": [queue, "Arn"]}

    def test_uses_the_users_key(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        api = SdApi(stack, "Api", encryption_key=kms.Key(stack, "Key"))
        cluster = SdEksCluster(stack, "Cluster")
        SdRuntime(stack, "Any", api=api, cluster=cluster, model=Model.dynamic(), image=IMAGE)
        found = runtime_statements(templates_of(app)["Service"], "AnyRole")
        assert found["EncryptPictures"]["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]
        assert found["EncryptResults"]["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]
        assert found["DecryptModels"]["Action"] == "kms:Decrypt"

    def test_pods_get_the_role_by_pod_identity(self, template: Template) -> None:
        accounts = {
            each["ServiceAccount"]: each
            for each in properties(template, "AWS::EKS::PodIdentityAssociation")
        }
        assert accounts["tiny-shapes"]["Namespace"] == "stable-diffusion"
        role = template["Resources"][accounts["tiny-shapes"]["RoleArn"]["Fn::GetAtt"][0]]
        (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
        assert sorted(trust["Action"]) == ["sts:AssumeRole", "sts:TagSession"]
        # It cannot be handed to other pods.
        assert trust["Condition"] == {
            "StringEquals": {
                "aws:RequestTag/eks-cluster-name": accounts["tiny-shapes"]["ClusterName"],
                "aws:RequestTag/kubernetes-namespace": "stable-diffusion",
                "aws:RequestTag/kubernetes-service-account": "tiny-shapes",
            }
        }


class TestEnvironment:
    def test_agent_can_read_it(self, template: Template) -> None:
        environment = AgentEnvironment.from_environment(agent_environment(template, "tiny-shapes"))
        assert environment.runtime_name == "tiny-shapes"
        assert environment.runtime_class == "static"
        assert environment.models == ("tiny-shapes",)
        assert environment.lease_seconds == 30
        assert environment.drain_seconds == 300
        assert environment.health_port == 8080

    def test_dynamic_runtime_preloads_nothing(self, template: Template) -> None:
        environment = AgentEnvironment.from_environment(agent_environment(template, "any-model"))
        assert environment.runtime_class == "dynamic"
        assert environment.models == ()

    def test_names_the_queues_of_the_runtime(self, template: Template) -> None:
        environment = agent_environment(template, "tiny-shapes")
        assert "TinyShapesQueue" in environment["SD_QUEUE_URL"]
        assert "TinyShapesDeadLetterQueue" in environment["SD_DEAD_LETTER_QUEUE_URL"]


class TestName:
    def test_is_the_identifier_in_kebab_case(self) -> None:
        service = new_service()
        names = {
            "Sdxl": "sdxl",
            "TinyShapes": "tiny-shapes",
            "SDXLBase": "sdxl-base",
            "Sd15Inpaint": "sd15-inpaint",
            "any_model": "any-model",
            "already-kebab": "already-kebab",
        }
        for id, name in names.items():
            assert service.add_runtime(id, Model.static(name)).name == name

    def test_may_be_given(self) -> None:
        assert new_service().add_runtime("Any", Model.dynamic(), name="fallback").name == "fallback"


class TestManners:
    def test_has_no_outputs_in_one_stack(self, template: Template) -> None:
        assert not any(
            name.startswith(("TinyShapes", "AnyModel", "Cluster"))
            for name in template.get("Outputs", {})
        )

    def test_has_no_physical_names(self, template: Template) -> None:
        for queue in resources(template, "AWS::SQS::Queue"):
            assert "QueueName" not in queue["Properties"]

    def test_needs_no_custom_resource_to_write_tokens(self, template: Template) -> None:
        assert "Custom::AWSCDKCfnJson" not in {
            each["Type"] for each in template["Resources"].values()
        }
