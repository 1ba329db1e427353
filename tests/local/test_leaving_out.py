"""What is left out of a template, and that nothing refers to it afterwards."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.local.template import MARK, is_left_out, leave_out, summary

GONE, KEPT = "Cluster", "Queue"
RESOURCES = {
    GONE: {"Type": "AWS::EKS::Cluster", "Properties": {}},
    KEPT: {"Type": "AWS::SQS::Queue", "Properties": {}},
}


def function(properties: Any, **more: Any) -> dict[str, Any]:
    return {
        "Resources": {
            **RESOURCES,
            "Function": {"Type": "AWS::Lambda::Function", "Properties": properties, **more},
        }
    }


def properties(value: Any) -> Any:
    return leave_out(function({"Value": value})).template["Resources"]["Function"]["Properties"][
        "Value"
    ]


def references(name: str) -> st.SearchStrategy[Any]:
    return st.sampled_from(
        [
            {"Ref": name},
            {"Fn::GetAtt": [name, "Arn"]},
            {"Fn::GetAtt": f"{name}.Arn"},
            {"Fn::Sub": f"a-${{{name}}}-${{{name}.Arn}}"},
            {"Fn::Sub": ["${x}", {"x": {"Ref": name}}]},
        ]
    )


def values(names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.text() | st.integers() | st.booleans() | names.flatmap(references),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3)
            | inner.map(lambda each: {"Fn::Join": ["", [each]]})
            | inner.map(lambda each: {"Fn::Select": [0, each]})
        ),
        max_leaves=10,
    )


@given(values(st.sampled_from([GONE, KEPT])))
def test_nothing_refers_to_what_is_left_out(value: Any) -> None:
    patched = json.dumps(properties(value)).replace(MARK + GONE, "")
    assert f'"{GONE}"' not in patched
    assert f'"{GONE}.' not in patched
    assert f"${{{GONE}" not in patched


@given(values(st.just(KEPT)))
def test_other_references_stay_as_they_are(value: Any) -> None:
    assert properties(value) == value


def test_a_reference_becomes_a_text_that_names_the_resource() -> None:
    assert properties({"Ref": GONE}) == "left-out:Cluster"
    assert properties({"Fn::Sub": "https://${Cluster.Endpoint}/${Queue}"}) == {
        "Fn::Sub": "https://left-out:Cluster/${Queue}"
    }
    assert properties({"Fn::Select": [1, {"Fn::Split": ["//", {"Ref": GONE}]}]}) == (
        "left-out:Cluster"
    )


def test_a_variable_of_the_text_itself_is_no_reference() -> None:
    own = {"Fn::Sub": ["${Cluster} ${!Cluster}", {"Cluster": "x"}]}
    assert properties(own) == own


def test_dependencies_on_it_go() -> None:
    for given_, kept in ((GONE, None), ([GONE, KEPT], [KEPT]), (KEPT, [KEPT])):
        resource = leave_out(function({}, DependsOn=given_)).template["Resources"]["Function"]
        assert resource.get("DependsOn") == kept


def test_a_function_loses_left_out_layers_only() -> None:
    template = function({"Layers": [{"Ref": "Kubectl"}, "arn:of:a:public:layer"]})
    template["Resources"]["Kubectl"] = {"Type": "AWS::Lambda::LayerVersion", "Properties": {}}
    kept = leave_out(template).template["Resources"]["Function"]["Properties"]
    assert kept == {"Layers": ["arn:of:a:public:layer"]}


def test_outputs_and_imports_of_it_go() -> None:
    producer = {
        "Resources": RESOURCES,
        "Outputs": {
            "Gone": {"Value": {"Fn::GetAtt": [GONE, "Arn"]}, "Export": {"Name": "Out:Gone"}},
            "Kept": {"Value": {"Ref": KEPT}, "Export": {"Name": "Out:Kept"}},
        },
    }
    reduced = leave_out(producer)
    assert set(reduced.template["Outputs"]) == {"Kept"}
    consumer = function(
        {"A": {"Fn::ImportValue": "Out:Gone"}, "B": {"Fn::ImportValue": "Out:Kept"}}
    )
    patched = leave_out(consumer, missing_exports=reduced.exports).template["Resources"]
    assert patched["Function"]["Properties"] == {
        "A": "left-out:Cluster",
        "B": {"Fn::ImportValue": "Out:Kept"},
    }


def test_manifests_are_kept_aside_with_their_references() -> None:
    manifest = {"Fn::Join": ["", ['[{"a":"', {"Ref": KEPT}, '","b":"', {"Ref": GONE}, '"}]']]}
    template = {
        "Resources": {
            **RESOURCES,
            "Manifest": {
                "Type": "Custom::AWSCDK-EKS-KubernetesResource",
                "Properties": {"Manifest": manifest},
            },
        }
    }
    reduced = leave_out(template)
    assert set(reduced.template["Resources"]) == {KEPT}
    assert reduced.manifests == {
        "Manifest": {
            "Fn::Join": ["", ['[{"a":"', {"Ref": KEPT}, '","b":"', "left-out:Cluster", '"}]']]
        }
    }


def test_the_template_given_is_not_changed() -> None:
    template = function({"Value": {"Ref": GONE}}, DependsOn=[GONE])
    before = json.dumps(template)
    leave_out(template)
    assert json.dumps(template) == before


def test_one_line_names_the_types() -> None:
    line = summary(["AWS::EKS::Cluster", "AWS::EC2::VPC", "AWS::EC2::Subnet"])
    assert line == (
        "not deployed on this machine, where agents are processes: "
        "AWS::EC2::{Subnet, VPC} AWS::EKS::{Cluster}"
    )
    assert "\n" not in line


def test_what_the_service_is_made_of_is_never_left_out() -> None:
    for each in (
        "AWS::ApiGateway::RestApi",
        "AWS::Lambda::Function",
        "AWS::SNS::Subscription",
        "AWS::SQS::Queue",
        "AWS::S3::Bucket",
        "AWS::IAM::Role",
        "AWS::CloudWatch::Dashboard",
    ):
        assert not is_left_out(each)


def test_a_parameter_goes_with_what_it_was_for() -> None:
    names = ("Gone", "Kept", "Both", "Neither", "Shown", "Asked")
    reduced = leave_out(
        {
            "Parameters": {name: {"Type": "String"} for name in names},
            "Conditions": {"IsAsked": {"Fn::Equals": [{"Ref": "Asked"}, "yes"]}},
            "Resources": {
                GONE: {
                    "Type": "AWS::EKS::Cluster",
                    "Properties": {
                        "A": {"Ref": "Gone"},
                        "B": {"Fn::Sub": "x-${Both}"},
                        "C": [{"Ref": "Shown"}, {"Ref": "Asked"}],
                    },
                },
                KEPT: {
                    "Type": "AWS::SQS::Queue",
                    "Properties": {"A": [{"Ref": "Kept"}], "B": {"Ref": "Both"}},
                },
            },
            "Outputs": {"Shown": {"Value": {"Ref": "Shown"}}},
        }
    )
    assert set(reduced.template["Parameters"]) == set(names) - {"Gone"}
