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


def faults(manifest: Any) -> list[str]:
    resources = {"Here": {"Type": KUBERNETES_RESOURCE, "Properties": {"Manifest": manifest}}}
    return [str(each) for each in read_manifest({"Resources": resources}, "Here").faults]


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


def test_an_empty_list_holds_nothing() -> None:
    assert read(json.dumps({"apiVersion": "v1", "kind": "List", "items": []})) == ()


def test_a_list_that_is_not_known_yet_is_no_fault() -> None:
    whole = {"Fn::Join": ["", ['{"apiVersion":"v1","kind":"List","items":', {"Ref": "All"}, "}"]]}
    assert read(whole) == ()
    assert faults(whole) == []


def test_the_items_of_a_list_of_a_kind_are_of_that_kind() -> None:
    bare = {"metadata": {"name": "it"}, "data": {}}
    whole = {"apiVersion": "v1", "kind": "ConfigMapList", "items": [bare, config_map({"a": "b"})]}
    assert read(json.dumps([whole])) == (config_map({}), config_map({"a": "b"}))


def test_a_kind_that_is_called_a_list_but_is_none_is_a_resource() -> None:
    resource = {**config_map({}), "kind": "AllowList", "items": {"a": "b"}}
    assert read(json.dumps(resource)) == (resource,)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ('["text"]', 'Manifest[0]: is "text", which lacks an apiVersion and a kind and metadata'),
        (
            '{"kind":"ConfigMap","metadata":{}}',
            'Manifest[0]: is {"kind": "ConfigMap", "metadata": {}}, which lacks an apiVersion',
        ),
        (
            '[{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","metadata":{}}]}]',
            'Manifest[0].items[0]: is {"apiVersion": "v1", "metadata": {}}, which lacks a kind',
        ),
        (
            '{"apiVersion":"v1","kind":"ConfigMap"}',
            'Manifest[0]: is {"apiVersion": "v1", "kind": "ConfigMap"}, which lacks metadata',
        ),
        (
            {"Ref": "Everything"},
            'Manifest[0]: is "${Everything}", which lacks an apiVersion and a kind and metadata',
        ),
    ],
)
def test_what_is_no_resource_is_said(manifest: Any, says: str) -> None:
    assert faults(manifest) == [says]
    assert read(manifest) == ()


def test_what_is_no_resource_hides_no_other() -> None:
    manifest = json.dumps([config_map({}), {"kind": "ConfigMap"}, config_map({"a": "b"})])
    assert read(manifest) == (config_map({}), config_map({"a": "b"}))
    assert [each.partition(":")[0] for each in faults(manifest)] == ["Manifest[1]"]


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(UnreadableManifest, match="is no JSON"):
        read("[{]")
