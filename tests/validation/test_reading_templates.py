"""Manifests are read out of templates with stand-ins for what is known only at deployment."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.validation.template import (
    KUBERNETES_RESOURCE,
    UnreadableManifest,
    manifest_ids,
    read_manifest,
)
from cdk_stable_diffusion.validation.token import has_token, is_untyped, readable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1_000, 1_000) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def read(manifest: Any) -> tuple[dict[str, Any], ...]:
    resources = {"Here": {"Type": KUBERNETES_RESOURCE, "Properties": {"Manifest": manifest}}}
    return read_manifest({"Resources": resources}, "Here").resources


def config_map(data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it"}, "data": data}


def joined(*parts: Any) -> dict[str, Any]:
    before = '[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"it"},"data":'
    return {"Fn::Join": ["", [before, *parts, "}]"]]}


def test_only_kubernetes_resources_hold_manifests() -> None:
    assert manifest_ids(
        {
            "Resources": {
                "Queue": {"Type": "AWS::SQS::Queue"},
                "Here": {"Type": KUBERNETES_RESOURCE},
            }
        }
    ) == ["Here"]
    assert manifest_ids({}) == []


@given(JSON)
def test_what_is_known_is_read_as_it_is(data: Any) -> None:
    assert read(json.dumps([config_map(data)])) == (config_map(data),)


def test_a_single_resource_and_a_list_are_read_as_well() -> None:
    assert read(json.dumps(config_map({}))) == (config_map({}),)
    whole = {"apiVersion": "v1", "kind": "List", "items": [config_map({}), config_map({"a": "b"})]}
    assert read(json.dumps(whole)) == (config_map({}), config_map({"a": "b"}))


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ({"Ref": "Queue"}, "${Queue}"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "${Queue.Arn}"),
        ({"Fn::ImportValue": "Other:Export"}, "${Other:Export}"),
        ({"Fn::Select": [0, {"Fn::GetAZs": ""}]}, "${Fn::Select}"),
    ],
)
def test_a_reference_in_a_string_is_a_string(reference: Any, shown: str) -> None:
    (found,) = read(joined('{"url":"https://', reference, '/x"}'))
    url = found["data"]["url"]
    assert has_token(url)
    assert not is_untyped(url)
    assert readable(found["data"]) == {"url": f"https://{shown}/x"}


def test_a_reference_outside_of_strings_has_no_type() -> None:
    (found,) = read(joined('{"count":', {"Ref": "Count"}, ',"name":"a"}'))
    assert is_untyped(found["data"]["count"])
    assert readable(found["data"]) == {"count": "${Count}", "name": "a"}


def test_quotes_in_strings_end_no_string() -> None:
    (found,) = read(joined(r'{"text":"a \"', {"Ref": "Name"}, r'\" \\","n":', {"Ref": "N"}, "}"))
    assert readable(found["data"]) == {"text": 'a "${Name}" \\', "n": "${N}"}
    assert is_untyped(found["data"]["n"])


def test_joins_in_joins_are_read() -> None:
    inner = {"Fn::Join": ["-", ["a", {"Ref": "Name"}, "b"]]}
    (found,) = read(joined('{"name":"', inner, '"}'))
    assert readable(found["data"]) == {"name": "a-${Name}-b"}


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ("[{]", "is no JSON"),
        ('["text"]', "lacks an apiVersion, a kind or metadata"),
        ('[{"kind":"ConfigMap","metadata":{}}]', "lacks an apiVersion, a kind or metadata"),
        ({"Ref": "Everything"}, "${Everything}"),
    ],
)
def test_what_cannot_be_read_is_said(manifest: Any, says: str) -> None:
    with pytest.raises(UnreadableManifest) as error:
        read(manifest)
    assert says in str(error.value)
    assert error.value.logical_id == "Here"
