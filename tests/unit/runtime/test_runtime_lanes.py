"""A dynamic runtime with several lanes: its queues, its pods and what scales them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_cdk import Stack, Token
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.contract import AgentEnvironment, RouteTable
from cdk_stable_diffusion.contract.lanes import default_lanes
from cdk_stable_diffusion.contract.template import METADATA_KEY
from cdk_stable_diffusion.runtime import Engine, Model, RuntimeImage, Scaling, SdRuntime
from tests.manifests.compose import (
    IMAGE,
    Template,
    as_list,
    properties,
    statements,
    templates_of,
)
from tests.manifests.template import manifest_of, manifests_of
from tests.manifests.validator import faults_of
from tests.unit.runtime.light_cluster import light_service

OTHER = RuntimeImage.from_registry(f"registry.example/engine@sha256:{'1' * 64}")
IAM_MANAGED_POLICY_CHARACTERS = 6_144


def template_of(model: Model, **arguments: Any) -> Template:
    service = light_service()
    service.add_runtime("Any", model, **arguments)
    return service.template()


@pytest.fixture(scope="module")
def three() -> Template:
    return template_of(Model.dynamic(lanes=3))


@pytest.fixture(scope="module")
def one() -> Template:
    return template_of(Model.dynamic(lanes=1))


def pod_of(template: Template) -> dict[str, Any]:
    pod: dict[str, Any] = manifest_of("Deployment", "any", template)["spec"]["template"]["spec"]
    return pod


def settings_of(template: Template) -> AgentEnvironment:
    (agent,) = pod_of(template)["containers"]
    return AgentEnvironment.from_environment({each["name"]: each["value"] for each in agent["env"]})


class TestQueues:
    def test_are_known_to_agents_in_the_order_of_the_lanes(self, three: Template) -> None:
        settings = settings_of(three)
        assert settings.lane_queue_urls[0] == settings.queue_url
        names = [url.strip("${}") for url in settings.lane_queue_urls]
        policies = {
            each["Endpoint"]["Fn::GetAtt"][0]: each["FilterPolicy"]
            for each in properties(three, "AWS::SNS::Subscription")
        }
        routes = RouteTable(dynamic="any", lanes=3)
        assert [policies[name] for name in names] == list(routes.filter_policies("any"))

    def test_share_a_dead_letter_queue(self, three: Template) -> None:
        redrives = [
            each["RedrivePolicy"]
            for each in properties(three, "AWS::SQS::Queue")
            if "RedrivePolicy" in each
        ]
        assert len(redrives) == 4
        assert all(each == redrives[0] for each in redrives)

    def test_are_attributes_of_the_runtime(self) -> None:
        runtime = light_service().add_runtime("Any", Model.dynamic(lanes=3))
        ids = [queue.node.id for queue in runtime.queues]
        assert ids == ["Queue", "Lane1", "Lane2", "OverflowQueue"]
        assert runtime.queue is runtime.queues[0]
        assert runtime.overflow_queue is runtime.queues[3]
        assert len(runtime.subscriptions) == 3
        assert runtime.subscription is runtime.subscriptions[0]

    @given(st.integers(1, 20))
    def test_are_as_many_as_replicas_are_worth(self, replicas: int) -> None:
        assert Model.dynamic().lanes_for(replicas) == default_lanes(replicas)
        assert Model.dynamic(lanes=5).lanes_for(replicas) == 5
        assert Model.static("a").lanes_for(replicas) == 1

    def test_follow_from_the_most_replicas(self) -> None:
        template = template_of(Model.dynamic(), scaling=Scaling(max_replicas=2))
        assert len(settings_of(template).lane_queue_urls) == 8

    def test_a_single_one_is_as_ever(self, one: Template) -> None:
        settings = settings_of(one)
        assert settings.lane_queue_urls == ()
        assert settings.overflow_queue_url == ""
        assert settings.members_service == ""
        assert {"Service", "Role", "RoleBinding"}.isdisjoint(
            each["kind"] for each in manifests_of(one)
        )
        spec = manifest_of("ScaledObject", "any", one)["spec"]
        assert "scalingModifiers" not in spec["advanced"]
        assert [each.get("name") for each in spec["triggers"]] == [None]
        assert "kubernetes" not in {each["name"] for each in pod_of(one)["volumes"]}


class TestOverflowQueue:
    def test_is_known_to_agents(self, three: Template) -> None:
        settings = settings_of(three)
        assert settings.overflow_queue_url.strip("${}") == overflow_of(three)
        assert settings.overflow_queue_url not in settings.lane_queue_urls

    def test_is_like_the_queue_of_a_lane(self, three: Template) -> None:
        queues = {
            name: {key: each[key] for key in each if key != "Metadata"} | {"mark": mark_of(each)}
            for name, each in three["Resources"].items()
            if each["Type"] == "AWS::SQS::Queue" and "RedrivePolicy" in each["Properties"]
        }
        overflow = queues.pop(overflow_of(three))
        assert overflow["mark"] == "task-queue"
        assert list(queues.values()) == 3 * [overflow]

    def test_refuses_what_is_not_tls_and_is_sent_to_by_no_topic(self, three: Template) -> None:
        name = overflow_of(three)
        (policy,) = (
            each["PolicyDocument"]["Statement"]
            for each in properties(three, "AWS::SQS::QueuePolicy")
            if each["Queues"] == [{"Ref": name}]
        )
        (denied,) = policy
        assert denied["Effect"] == "Deny"
        assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert name not in json.dumps(properties(three, "AWS::SNS::Subscription"))

    @pytest.mark.parametrize("model", [Model.static("a"), Model.dynamic(lanes=1)])
    def test_is_not_there_for_one_lane(self, model: Model) -> None:
        service = light_service()
        runtime = service.add_runtime("Any", model)
        assert runtime.overflow_queue is None
        assert runtime.queues == (runtime.queue,)
        assert "Overflow" not in json.dumps(service.template())

    def test_follows_from_the_most_replicas(self) -> None:
        scaling = Scaling(max_replicas=1)
        runtime = light_service().add_runtime("Any", Model.dynamic(), scaling=scaling)
        assert runtime.overflow_queue is None


def overflow_of(template: Template) -> str:
    (name,) = (
        name
        for name, each in template["Resources"].items()
        if each["Metadata"].get("aws:cdk:path", "").endswith("/Any/OverflowQueue/Resource")
    )
    return str(name)


def mark_of(resource: dict[str, Any]) -> str:
    return str(resource["Metadata"][METADATA_KEY])


class TestRights:
    def test_pods_may_take_from_every_queue_and_see_how_long_it_is(self, three: Template) -> None:
        (take,) = statements_of(three, "AnyRole", "TakeTasks")
        assert len(take["Resource"]) == 4
        assert take["Resource"][-1] == {"Fn::GetAtt": [overflow_of(three), "Arn"]}
        assert sorted(take["Action"]) == [
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
        ]

    def test_pods_with_one_queue_need_not_see_how_long_it_is(self, one: Template) -> None:
        (take,) = statements_of(one, "AnyRole", "TakeTasks")
        assert "sqs:GetQueueAttributes" not in take["Action"]

    def test_pods_may_send_to_the_overflow_queue_and_the_dead_letters_alone(
        self, three: Template
    ) -> None:
        sends = [
            resource["Fn::GetAtt"][0]
            for name, statement in statements(three)
            if name.startswith("AnyRole") and "sqs:SendMessage" in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
        ]
        (dead_letters,) = (
            name
            for name, each in three["Resources"].items()
            if each["Type"] == "AWS::SQS::Queue" and mark_of(each) == "task-dead-letter-queue"
        )
        assert sorted(sends) == sorted([dead_letters, overflow_of(three)])
        (pass_on,) = statements_of(three, "AnyRole", "PassOnTasks")
        assert pass_on["Action"] == "sqs:SendMessage"

    def test_pods_with_one_queue_pass_nothing_on(self, one: Template) -> None:
        assert statements_of(one, "AnyRole", "PassOnTasks") == []

    def test_the_scaler_sees_every_queue(self, three: Template) -> None:
        (read,) = statements_of(three, "AnyScalerPolicy", "ReadQueueDepth")
        assert len(read["Resource"]) == 4
        assert read["Resource"][-1] == {"Fn::GetAtt": [overflow_of(three), "Arn"]}

    def test_policies_of_the_most_lanes_have_room_in_iam(self) -> None:
        service = light_service()
        # A stack of CloudFormation has room for them, and for nothing much beside.
        SdRuntime(
            stack := Stack(service.app, "Runtime"),
            "Any",
            api=service.api,
            cluster=service.cluster,
            model=Model.dynamic(lanes=150),
            image=IMAGE,
        )
        template = templates_of(service.app)[stack.stack_name]
        managed = {
            name: each["Properties"]["PolicyDocument"]
            for name, each in template["Resources"].items()
            if each["Type"] == "AWS::IAM::ManagedPolicy"
        }
        for document in managed.values():
            assert longest(document) <= IAM_MANAGED_POLICY_CHARACTERS
        inline = [
            each["PolicyDocument"]
            for each in properties(template, "AWS::IAM::Policy")
            if "sqs:" in json.dumps(each)
        ]
        for document in inline:
            assert longest(document) <= 10_240
        for prefix, sid in (("AnyRole", "TakeTasks"), ("AnyScalerPolicy", "ReadQueueDepth")):
            named = [
                resource["Fn::GetAtt"][0]
                for statement in statements_of(template, prefix, sid)
                for resource in as_list(statement["Resource"])
            ]
            assert len(named) == len(set(named)) == 150 + 1


def longest(document: dict[str, Any]) -> int:
    """Return how long a policy may be: a queue's name has up to 80 characters."""
    arn = "arn:aws:sqs:ap-southeast-1:123456789012:" + 80 * "x"
    written = json.dumps(document, separators=(",", ":"))
    for name in set(_queues(document)):
        written = written.replace(
            json.dumps({"Fn::GetAtt": [name, "Arn"]}, separators=(",", ":")), json.dumps(arn)
        )
    return len(written)


def _queues(document: dict[str, Any]) -> list[str]:
    return [
        resource["Fn::GetAtt"][0]
        for statement in document["Statement"]
        for resource in as_list(statement["Resource"])
        if isinstance(resource, dict) and "Fn::GetAtt" in resource
    ]


def statements_of(template: Template, prefix: str, sid: str) -> list[dict[str, Any]]:
    return [
        statement
        for name, statement in statements(template)
        if name.startswith(prefix) and statement.get("Sid", "").startswith(sid)
    ]


class TestScaling:
    def test_follows_the_sum_of_all_queues(self, three: Template) -> None:
        spec = manifest_of("ScaledObject", "any", three)["spec"]
        assert spec["advanced"]["scalingModifiers"] == {
            "formula": "lane0 + lane1 + lane2 + overflow",
            # Of the sum, as the queue's length is of a single queue.
            "target": "12",
            "metricType": "AverageValue",
            "activationTarget": "0",
        }
        names = [each["name"] for each in spec["triggers"]]
        assert names == ["lane0", "lane1", "lane2", "overflow"]
        urls = [each["metadata"]["queueURL"] for each in spec["triggers"]]
        settings = settings_of(three)
        assert urls == [*settings.lane_queue_urls, settings.overflow_queue_url]

    def test_counts_what_is_in_flight_in_each(self, three: Template) -> None:
        for each in manifest_of("ScaledObject", "any", three)["spec"]["triggers"]:
            assert each["metadata"]["scaleOnInFlight"] == "true"


class TestMembership:
    def test_the_service_selects_the_pods(self, three: Template) -> None:
        service = manifest_of("Service", "members-any", three)
        deployment = manifest_of("Deployment", "any", three)
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
        metadata = service["metadata"]
        assert settings_of(three).members_service == f"{metadata['namespace']}/{metadata['name']}"

    def test_pods_may_only_list_who_is_ready(self, three: Template) -> None:
        assert manifest_of("Role", "members-any", three)["rules"] == [
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]}
        ]
        binding = manifest_of("RoleBinding", "members-any", three)
        assert binding["roleRef"]["name"] == "members-any"
        (subject,) = binding["subjects"]
        account = manifest_of("ServiceAccount", "any", three)["metadata"]
        assert (subject["kind"], subject["name"], subject["namespace"]) == (
            "ServiceAccount",
            account["name"],
            account["namespace"],
        )

    def test_pods_have_a_token_that_expires_and_no_other(self, three: Template) -> None:
        pod = pod_of(three)
        assert pod["automountServiceAccountToken"] is False
        (volume,) = (each for each in pod["volumes"] if each["name"] == "kubernetes")
        token, authority = volume["projected"]["sources"]
        assert token["serviceAccountToken"]["expirationSeconds"] == 3_600
        assert authority["configMap"]["name"] == "kube-root-ca.crt"
        (agent,) = pod["containers"]
        (mount,) = (each for each in agent["volumeMounts"] if each["name"] == "kubernetes")
        assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
        assert mount["readOnly"] is True

    def test_an_engine_of_its_own_container_has_none(self) -> None:
        pod = pod_of(template_of(Model.dynamic(lanes=2), engine=Engine.comfyui(image=OTHER)))
        (engine,) = pod["initContainers"]
        assert "kubernetes" not in {each["name"] for each in engine["volumeMounts"]}
        (agent,) = pod["containers"]
        assert "kubernetes" in {each["name"] for each in agent["volumeMounts"]}

    def test_a_runtime_whose_name_begins_with_a_digit_has_a_service(self) -> None:
        template = template_of(Model.dynamic(lanes=2), name="3d")
        assert [fault for each in manifests_of(template) for fault in faults_of(each)] == []


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"lanes": 0}, "lanes is 0: 1 to 150"),
            ({"lanes": 151}, "lanes is 151: 1 to 150"),
            ({"lanes": "4"}, "lanes is '4': a whole number"),
            ({"lanes": True}, "lanes is True: a whole number"),
            ({"spread": ["a"]}, "spread is ['a']: lanes by model, such as {'sdxl': 4}"),
            ({"spread": {"../x": 2}}, "spread's model '../x': a name of 1 to 128"),
            ({"spread": {5: 2}}, "spread's model is 5: a name of 1 to 128"),
            ({"spread": {"a": 0}}, "spread of 'a' is 0: 1 to 150 lanes"),
            ({"spread": {"a": "2"}}, "spread of 'a' is '2': a whole number"),
            ({"lanes": 4, "spread": {"a": 5}}, "spread of 'a' is 5: 1 to 4 lanes"),
            (
                {"lanes": 200, "spread": {"a": "x", "/": 2}},
                "lanes is 200: 1 to 150; spread of 'a' is 'x': a whole number, such as 3; "
                "spread's model '/'",
            ),
            (
                {"spread": {Token.as_string({"Ref": "Name"}): 2}},
                "Model.dynamic: spread's model is a token: it must be known at synthesis",
            ),
        ],
    )
    def test_refuses(self, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=r"Model\.dynamic: ") as error:
            Model.dynamic(**arguments)
        assert says in str(error.value)

    def test_does_not_measure_a_spread_by_a_wrong_number_of_lanes(self) -> None:
        with pytest.raises(ValueError) as error:
            Model.dynamic(lanes=0, spread={"a": 2})
        assert str(error.value) == "Model.dynamic: lanes is 0: 1 to 150"

    def test_refuses_more_lanes_of_a_model_than_there_are_by_default(self) -> None:
        service = light_service()
        with pytest.raises(ValueError) as error:
            service.add_runtime(
                "Any",
                Model.dynamic(spread={"hot": 9}),
                scaling=Scaling(max_replicas=2),
                max_receive_count=0,
            )
        assert str(error.value).count("spread of 'hot' is 9: 1 to 8 lanes") == 1
        assert "max_receive_count is 0" in str(error.value)
        assert service.api.routes.runtimes() == ()

    def test_says_nothing_of_a_spread_that_follows_from_a_wrong_scaling(self) -> None:
        service = light_service()
        with pytest.raises(ValueError) as error:
            service.add_runtime("Any", Model.dynamic(spread={"hot": 150}), scaling=3)
        assert "scaling is 3: a Scaling" in str(error.value)
        assert "spread" not in str(error.value)

    def test_refuses_more_queues_than_the_topic_has_filters_for(self) -> None:
        service = light_service()
        service.api.routes.add_static("others", ["a"])
        for number in range(50):
            service.api.routes.add_static(f"other-{number}", [f"m{number}"])
        with pytest.raises(ValueError, match="would have 201 lanes: at most 200"):
            service.add_runtime("Any", Model.dynamic(lanes=150))
        assert service.stack.node.try_find_child("Any") is None

    def test_hot_models_are_known_to_the_api(self) -> None:
        service = light_service()
        service.add_runtime("Any", Model.dynamic(lanes=8, spread={"hot": 3}))
        table = service.api.routes.table()
        assert (table.lanes, table.spread) == (8, {"hot": 3})
