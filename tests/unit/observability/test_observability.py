"""The dashboard and the alarms."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from aws_cdk import App, Duration, Stack
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.cluster import SdEksCluster
from cdk_stable_diffusion.observability import SdObservability
from cdk_stable_diffusion.runtime import Model, Scaling, SdRuntime
from tests.manifests.compose import (
    IMAGE,
    Service,
    Template,
    new_app,
    new_service,
    properties,
    quickstart,
    resources,
    templates_of,
)

ALARM = "AWS::CloudWatch::Alarm"


@pytest.fixture(scope="module")
def template() -> Template:
    return quickstart()


def alarm(template: Template, name: str) -> dict[str, Any]:
    (found,) = (
        each["Properties"]
        for each in resources(template, ALARM)
        if each["Metadata"]["aws:cdk:path"].endswith(f"{name}/Resource")
    )
    return dict(found)


def alarm_names(template: Template) -> set[str]:
    return {
        each["Metadata"]["aws:cdk:path"].removesuffix("/Resource").split("/", 2)[2]
        for each in resources(template, ALARM)
    }


def paths_of(template: Template, kind: str) -> dict[str, str]:
    return {
        name: each["Metadata"]["aws:cdk:path"]
        for name, each in template["Resources"].items()
        if each["Type"] == kind
    }


def dashboard_text(template: Template) -> str:
    return "".join(
        json.dumps(each["DashboardBody"])
        for each in properties(template, "AWS::CloudWatch::Dashboard")
    )


def parts(order: str) -> Template:
    """Return the template of a service whose parts are added in an order, by initials."""
    service = new_service()
    adds: dict[str, Callable[[], object]] = {
        "o": lambda: SdObservability(service.stack, "Observability", api=service.api),
        "s": lambda: service.add_runtime("Sdxl", Model.static("sdxl")),
        "d": lambda: service.add_runtime("Any", Model.dynamic()),
        "r": lambda: service.api.add_result_queue("Results"),
    }
    for initial in order:
        adds[initial]()
    return service.template()


class TestAlarms:
    def test_are_on_everything(self, template: Template) -> None:
        assert alarm_names(template) == {
            "ServerErrors",
            "ResultQueue-Results/DeadLetters",
            "Runtime-any-model/DeadLetters",
            "Runtime-any-model/OldestMessage",
            "Runtime-any-model/OldestMessage2",
            "Runtime-tiny-shapes/DeadLetters",
            "Runtime-tiny-shapes/OldestMessage",
        }

    @pytest.mark.parametrize("order", ["osdr", "rdso"])
    def test_are_on_what_is_added_before_and_after(self, order: str) -> None:
        assert alarm_names(parts(order)) == {
            "ServerErrors",
            "ResultQueue-Results/DeadLetters",
            "Runtime-any/DeadLetters",
            "Runtime-any/OldestMessage",
            "Runtime-any/OldestMessage2",
            "Runtime-sdxl/DeadLetters",
            "Runtime-sdxl/OldestMessage",
        }

    def test_use_one_metric_each_or_that_of_several_queues(self, template: Template) -> None:
        for each in properties(template, ALARM):
            queues = [metric["Id"] for metric in each.get("Metrics", ()) if "MetricStat" in metric]
            assert ("MetricName" in each) != bool(queues)
            assert len(queues) <= 10

    def test_oldest_message_is_that_of_any_queue(self, template: Template) -> None:
        watched = {}
        for name in ("OldestMessage", "OldestMessage2"):
            found = alarm(template, f"Runtime-any-model/{name}")
            expression, *metrics = found["Metrics"]
            ids = ", ".join(each["Id"] for each in metrics)
            assert expression["Expression"] == f"MAX([{ids}])"
            assert found["Threshold"] == 600 + 60 + 300
            for each in metrics:
                (dimension,) = each["MetricStat"]["Metric"]["Dimensions"]
                watched[dimension["Value"]["Fn::GetAtt"][0]] = each["Id"]
        names = {
            "Queue": "age0",
            **{f"Lane{lane}": f"age{lane}" for lane in range(1, 16)},
            "OverflowQueue": "ageOverflow",
        }
        queues = {
            name: names[place.split("/")[2]]
            for name, place in paths_of(template, "AWS::SQS::Queue").items()
            if place.split("/")[1] == "AnyModel" and place.split("/")[2] in names
        }
        assert len(queues) == 17
        assert watched == queues

    @pytest.mark.parametrize(("lanes", "queues"), [(1, [1]), (9, [10]), (10, [10, 1])])
    def test_oldest_message_has_an_alarm_for_every_ten_queues(
        self, lanes: int, queues: list[int]
    ) -> None:
        service = new_service()
        SdObservability(service.stack, "Observability", api=service.api)
        service.add_runtime("Any", Model.dynamic(lanes=lanes))
        template = service.template()
        ends = ["", "2"][: len(queues)]
        found = [alarm(template, f"Runtime-any/OldestMessage{end}") for end in ends]
        assert [1 if "MetricName" in each else len(each["Metrics"]) - 1 for each in found] == queues
        assert "Runtime-any/OldestMessage3" not in alarm_names(template)
        if lanes == 10:
            assert "OverflowQueue" in json.dumps(found[-1]["Dimensions"])

    def test_say_what_to_do(self, template: Template) -> None:
        for each in properties(template, ALARM):
            assert len(json.dumps(each["AlarmDescription"])) > 40

    def test_are_quiet_without_data(self, template: Template) -> None:
        for each in properties(template, ALARM):
            assert each["TreatMissingData"] == "notBreaching"

    def test_dead_letters_set_off_at_the_first(self, template: Template) -> None:
        found = alarm(template, "Runtime-tiny-shapes/DeadLetters")
        assert found["MetricName"] == "ApproximateNumberOfMessagesVisible"
        assert found["Threshold"] == 1
        assert found["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        ((dimension,),) = (found["Dimensions"],)
        assert "DeadLetter" in dimension["Value"]["Fn::GetAtt"][0]

    def test_dead_letters_say_where_to_redrive_them(self, template: Template) -> None:
        found = alarm(template, "Runtime-tiny-shapes/DeadLetters")
        text = json.dumps(found["AlarmDescription"])
        # SQS knows no source for what an agent put there itself, so it must be named.
        (queue,) = (
            name
            for name, each in template["Resources"].items()
            if each.get("Metadata", {})
            .get("aws:cdk:path", "")
            .endswith("TinyShapes/Queue/Resource")
        )
        assert json.dumps({"Fn::GetAtt": [queue, "QueueName"]}) in text

    def test_oldest_message_allows_for_start_target_and_task(self, template: Template) -> None:
        found = alarm(template, "Runtime-tiny-shapes/OldestMessage")
        assert found["MetricName"] == "ApproximateAgeOfOldestMessage"
        assert found["Threshold"] == 600 + 60 + 300

    def test_oldest_message_follows_from_the_runtime(self) -> None:
        service = new_service()
        service.add_runtime(
            "Any",
            Model.dynamic(),
            longest_task=Duration.minutes(1),
            scaling=Scaling(target_latency=Duration.minutes(3)),
        )
        SdObservability(service.stack, "Observability", api=service.api)
        found = alarm(service.template(), "Runtime-any/OldestMessage")
        assert found["Threshold"] == 600 + 180 + 60

    def test_thresholds_may_be_given(self) -> None:
        service = new_service()
        service.add_runtime("Any", Model.dynamic())
        SdObservability(
            service.stack,
            "Observability",
            api=service.api,
            oldest_message_age=Duration.minutes(5),
            server_error_count=20,
        )
        template = service.template()
        assert alarm(template, "Runtime-any/OldestMessage")["Threshold"] == 300
        assert alarm(template, "ServerErrors")["Threshold"] == 20

    def test_all_have_the_users_actions(self) -> None:
        service = new_service()
        topic = sns.Topic(service.stack, "OnCall")
        observability = SdObservability(
            service.stack,
            "Observability",
            api=service.api,
            alarm_actions=[actions.SnsAction(topic)],
        )
        service.add_runtime("Any", Model.dynamic())
        assert len(observability.alarms) == 4
        for each in properties(service.template(), ALARM):
            assert len(each["AlarmActions"]) == 1


class TestDashboard:
    def test_is_one(self, template: Template) -> None:
        assert len(resources(template, "AWS::CloudWatch::Dashboard")) == 1

    def test_has_no_name_of_its_own(self, template: Template) -> None:
        (dashboard,) = resources(template, "AWS::CloudWatch::Dashboard")
        assert "DashboardName" not in dashboard["Properties"]

    @pytest.mark.parametrize(
        "title",
        [
            "Requests",
            "Errors",
            "Latency of the API",
            "Tasks accepted",
            "Results by status",
            "tiny-shapes: tasks",
            "tiny-shapes: age of the oldest task",
            "any-model: dead letters",
            "any-model: where models were",
            "any-model: loads and steals",
            "Results: results waiting",
        ],
    )
    def test_shows(self, template: Template, title: str) -> None:
        assert title in dashboard_text(template)

    def test_sums_the_queues_of_a_runtime(self, template: Template) -> None:
        text = dashboard_text(template)
        for function, name in (("SUM", "waiting"), ("SUM", "running"), ("MAX", "age")):
            queues = ", ".join(f"{name}{queue}" for queue in (*range(16), "Overflow"))
            assert f"{function}([{queues}])" in text

    def test_shows_no_models_of_a_runtime_that_preloads_them(self, template: Template) -> None:
        assert "tiny-shapes: loads and steals" not in dashboard_text(template)

    @pytest.mark.parametrize("order", ["osdr", "sord"])
    def test_shows_what_is_added_before_and_after(self, order: str) -> None:
        text = dashboard_text(parts(order))
        for title in ("sdxl: tasks", "any: tasks", "Results: results waiting"):
            assert text.count(title) == 1

    def test_counts_failed_results(self, template: Template) -> None:
        (subscription,) = (
            each
            for each in properties(template, "AWS::SNS::Subscription")
            if each.get("FilterPolicy") == {"status": ["failed"]}
        )
        queue = template["Resources"][subscription["Endpoint"]["Fn::GetAtt"][0]]
        assert queue["Properties"]["MessageRetentionPeriod"] == 60


class TestStacks:
    @pytest.mark.parametrize("home", ["Api", "Cluster", "Runtimes", "Own"])
    @pytest.mark.parametrize("observed_first", [True, False])
    def test_may_be_in_any_stack(self, home: str, observed_first: bool) -> None:
        app = new_app()
        stacks = {name: Stack(app, name) for name in ("Api", "Cluster", "Runtimes", "Own")}
        api = SdApi(stacks["Api"], "Api")
        cluster = SdEksCluster(stacks["Cluster"], "Cluster")
        if observed_first:
            SdObservability(stacks[home], "Observability", api=api)
        SdRuntime(
            stacks["Runtimes"],
            "Any",
            api=api,
            cluster=cluster,
            model=Model.dynamic(),
            image=IMAGE,
        )
        if not observed_first:
            SdObservability(stacks[home], "Observability", api=api)
        templates = templates_of(app)
        alarms = {
            name: len(resources(each, ALARM))
            for name, each in templates.items()
            if "Resources" in each
        }
        theirs = home if home in ("Runtimes", "Own") else "Runtimes"
        assert alarms[theirs] >= 2
        assert sum(alarms.values()) == 4
        assert "any: tasks" in dashboard_text(templates[theirs])


class TestArguments:
    def test_names_every_fault_at_once(self) -> None:
        service: Service = new_service()
        with pytest.raises(ValueError) as error:
            SdObservability(
                service.stack,
                "Observability",
                api=service.api,
                oldest_message_age=Duration.seconds(59),
                server_error_count=0,
            )
        assert "oldest_message_age is 59 seconds: at least 60" in str(error.value)
        assert "server_error_count is 0: at least 1" in str(error.value)

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("api", "api", "api is 'api': an SdApi"),
            ("alarm_actions", ["x"], "alarm_actions names 'x': an action, such as SnsAction"),
            ("alarm_actions", "x", "alarm_actions is 'x': a list of actions"),
            ("oldest_message_age", 600, "oldest_message_age is 600: a Duration"),
            ("server_error_count", "1", "server_error_count is '1': a whole number"),
        ],
    )
    def test_refuses_wrong_types(self, name: str, value: object, says: str) -> None:
        stack = Stack(App(), "Service")
        arguments: dict[str, Any] = {"api": SdApi(stack, "Api"), name: value}
        with pytest.raises(ValueError) as error:
            SdObservability(stack, "Observability", **arguments)
        assert str(error.value).startswith("SdObservability Service/Observability: ")
        assert says in str(error.value)
