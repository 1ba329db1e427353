"""Engines in a container of their own: the values, and the pods that have one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Annotations, Match

from cdk_stable_diffusion.contract import AgentEnvironment
from cdk_stable_diffusion.local.runtimes import find_runtimes
from cdk_stable_diffusion.runtime import (
    Batching,
    Engine,
    Finishing,
    GpuNodes,
    ImageCache,
    ImageStart,
    Model,
    RuntimeImage,
    SafetyChecker,
    SdNodePool,
    Watermark,
)
from cdk_stable_diffusion.runtime.disk import DiskUse
from tests.manifests.compose import IMAGE
from tests.manifests.pod_security import restricted_faults
from tests.manifests.template import manifests_of
from tests.unit.runtime.light_cluster import invalid_manifests, light_service, spec_of

OWN = RuntimeImage.from_registry("registry.example/engine@sha256:" + "b" * 64)
COMFYUI = Engine.comfyui(image=OWN)
SDWEBUI = Engine.sdwebui(image=OWN)
BOTH = pytest.mark.parametrize("engine", [COMFYUI, SDWEBUI], ids=["comfyui", "sdwebui"])


def template(engine: Engine, **arguments: Any) -> dict[str, Any]:
    service = light_service()
    service.add_runtime("Sdxl", engine=engine, **arguments)
    return dict(spec_of("Deployment", "sdxl", service.template())["template"])


def containers(engine: Engine, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    spec = template(engine, **arguments)["spec"]
    (agent,), (other,) = spec["containers"], spec["initContainers"]
    return agent, other


def mounts(container: dict[str, Any]) -> dict[str, tuple[str, str | None, bool]]:
    return {
        each["mountPath"]: (each["name"], each.get("subPath"), each.get("readOnly", False))
        for each in container["volumeMounts"]
    }


@BOTH
def test_the_manifests_are_valid_and_keep_to_the_namespaces_standard(engine: Engine) -> None:
    service = light_service()
    service.add_runtime("Sdxl", engine=engine)
    assert invalid_manifests(service.template()) == {}
    assert restricted_faults(template(engine)["spec"]) == []


def test_diffusers_needs_no_other_container() -> None:
    cases: list[dict[str, Any]] = [{}, {"engine": Engine.diffusers()}]
    for arguments in cases:
        service = light_service()
        runtime = service.add_runtime("Sdxl", **arguments)
        pod = spec_of("Deployment", "sdxl", service.template())["template"]
        assert "initContainers" not in pod["spec"] and "annotations" not in pod["metadata"]
        assert runtime.engine_image_uri is None
        assert all("ENGINE" not in each["name"] for each in pod["spec"]["containers"][0]["env"])


@BOTH
def test_the_gpu_is_the_engines(engine: Engine) -> None:
    agent, other = containers(engine)
    assert other["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert "limits" not in agent["resources"]
    # Both together ask for what the agent alone does otherwise.
    asked = [each["resources"]["requests"] for each in (agent, other)]
    assert [each["cpu"] for each in asked] == ["500m", "1500m"]
    assert [each["memory"] for each in asked] == ["2Gi", "8Gi"]


@BOTH
def test_it_is_a_sidecar(engine: Engine) -> None:
    _, other = containers(engine)
    assert (other["name"], other["restartPolicy"], other["image"]) == ("engine", "Always", OWN.uri)
    # What started it must not wait for what needs the agent.
    assert not {"startupProbe", "readinessProbe", "ports"} & set(other)


@BOTH
def test_it_is_replaced_when_the_agent_says_so(engine: Engine) -> None:
    agent, other = containers(engine)
    probe = other["livenessProbe"]
    assert probe["exec"]["command"][-1] == f"! test -e {engine.models_directory}/.replace"
    assert (probe["failureThreshold"], probe["terminationGracePeriodSeconds"]) == (1, 10)
    assert mounts(other)[engine.models_directory] == ("engine", "models", True)
    assert mounts(agent)["/var/run/engine"] == ("engine", None, False)


@BOTH
def test_it_reads_the_models_where_the_agent_has_them(engine: Engine) -> None:
    agent, other = containers(engine)
    assert mounts(agent)["/var/cache/models"] == ("model-cache", None, False)
    assert mounts(other)["/var/cache/models"] == ("model-cache", None, True)


def test_comfyui_shares_its_files() -> None:
    _, other = containers(Engine.comfyui(image=OWN, home="/srv/comfy"))
    found = mounts(other)
    for name in ("input", "output", "temp"):
        assert found[f"/srv/comfy/{name}"] == ("engine", name, False)
    assert f"{'/srv/comfy'}/models" in found


def test_the_web_ui_gets_its_checkpoints_alone() -> None:
    _, other = containers(SDWEBUI)
    assert set(mounts(other)) == {
        "/var/cache/models",
        "/opt/stable-diffusion-webui/models/Stable-diffusion",
    }


@BOTH
def test_it_gets_no_rights_in_aws(engine: Engine) -> None:
    annotations = template(engine)["metadata"]["annotations"]
    assert annotations == {"eks.amazonaws.com/skip-containers": "engine"}
    _, other = containers(engine)
    assert all(not each["name"].startswith(("SD_", "AWS_")) for each in other["env"])


@BOTH
def test_the_agent_is_told_where_it_is(engine: Engine) -> None:
    agent, _ = containers(engine)
    variables = {each["name"]: each["value"] for each in agent["env"]}
    assert variables["SD_ENGINE"] == engine.name
    assert variables["SD_ENGINE_URL"] == f"http://127.0.0.1:{engine.port}"
    assert variables["SD_IMAGE_MODELS_DIRECTORY"] == ""
    settings = AgentEnvironment.from_environment(variables)
    assert settings.engine_directory == "/var/run/engine"


def test_what_it_runs_can_be_said() -> None:
    engine = Engine.comfyui(
        image=OWN, port=9000, command=["python", "main.py"], environment={"A": "b"}
    )
    agent, other = containers(engine)
    assert other["command"] == ["python", "main.py"]
    assert {"name": "A", "value": "b"} in other["env"]
    assert "http://127.0.0.1:9000" in [each["value"] for each in agent["env"]]
    _, other = containers(COMFYUI)
    assert "command" not in other


@BOTH
def test_it_has_room_on_the_disk(engine: Engine) -> None:
    agent, other = containers(engine, model_cache_gibibytes=100)
    own, others = (
        int(each["resources"]["requests"]["ephemeral-storage"].removesuffix("Gi"))
        for each in (agent, other)
    )
    use = DiskUse(model_cache_gibibytes=100, has_engine=True)
    assert (own, own + others) == (130, use.pod_gibibytes) == (130, 138)
    without = DiskUse(model_cache_gibibytes=100)
    # 24 GiB of files and 50 GiB of image, of a disk that may be 85 % full.
    more = use.local_disk_gibibytes(pods=1) - without.local_disk_gibibytes(pods=1)
    assert more == pytest.approx((24 + 50) / 0.85, abs=1)
    assert use.largest_model_cache_gibibytes(pods=1, gigabytes=400) < (
        without.largest_model_cache_gibibytes(pods=1, gigabytes=400)
    )


def test_a_shared_pool_must_have_room_for_it() -> None:
    service = light_service()
    nodes = GpuNodes(max_gpus=4)
    small = SdNodePool(service.stack, "Small", cluster=service.cluster, nodes=nodes)
    with pytest.raises(ValueError, match="the engine needs 74 more: at most 100"):
        service.add_runtime("Sdxl", nodes=small, engine=COMFYUI)
    large = SdNodePool(
        service.stack, "Large", cluster=service.cluster, nodes=nodes, model_cache_gibibytes=174
    )
    service.add_runtime("Sdxl", nodes=large, engine=COMFYUI)


def test_a_snapshot_of_its_own_has_both_images() -> None:
    service = light_service(region="eu-west-1")
    nodes = GpuNodes(image_start=ImageStart.snapshot())
    runtime = service.add_runtime("Sdxl", nodes=nodes, engine=COMFYUI)
    assert runtime.image_cache is not None
    assert set(runtime.image_cache.image_uris) == {IMAGE.uri, OWN.uri}
    assert runtime.image_cache.volume_gibibytes == 110


def test_a_shared_snapshot_without_its_image_is_warned_of() -> None:
    service = light_service(region="eu-west-1")
    cache = ImageCache(service.stack, "Images", images=[IMAGE], vpc=service.cluster.vpc)
    nodes = GpuNodes(image_start=ImageStart.snapshot(cache))
    service.add_runtime("Sdxl", nodes=nodes, engine=COMFYUI)
    Annotations.from_stack(service.stack).has_warning(
        "*", Match.string_like_regexp("the engine's image is not in Service/Images")
    )


def test_the_local_service_reads_its_pods() -> None:
    service = light_service()
    service.add_runtime("Sdxl", engine=COMFYUI)
    (runtime,) = find_runtimes([manifests_of(service.template())])
    assert runtime.settings.engine == "comfyui"


def test_models_in_the_agents_image_are_refused(tmp_path: Path) -> None:
    model = tmp_path / "sdxl"
    model.mkdir()
    (model / "model_index.json").write_text("{}")
    image = RuntimeImage.from_package(models={"sdxl": model})
    with pytest.raises(ValueError, match="image carries models, which comfyui"):
        light_service().add_runtime("Sdxl", model=Model.static("sdxl"), image=image, engine=COMFYUI)


def test_all_that_another_engine_does_not_do_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ValueError, match="SdRuntime Service/Sdxl: ") as caught:
        light_service().add_runtime(
            "Sdxl",
            engine=COMFYUI,
            image=RuntimeImage.from_package(models={"sdxl": tmp_path}),
            batching=Batching.up_to(4),
            finishing=Finishing(
                safety_checker=SafetyChecker.hook("checks:is_unsafe"),
                watermark=Watermark.text("drawn"),
            ),
        )
    for says in (
        "image carries models, which comfyui in its own container cannot see",
        "batching is Batching.up_to(4), and comfyui draws one task after the other",
        "finishing is what the package's own engine does: comfyui in its own container",
        "finishing.safety_checker is the function checks:is_unsafe: the package's own image",
    ):
        assert says in str(caught.value)


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="engine is 'comfyui': an Engine"):
        light_service().add_runtime("Sdxl", engine="comfyui")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"image": "registry/name"}, "image is 'registry/name'"),
        ({"image": RuntimeImage.from_package()}, "has no comfyui in it"),
        ({"home": "opt/comfy"}, "home is 'opt/comfy'"),
        ({"home": "/opt/../etc"}, "home is '/opt/../etc'"),
        ({"port": 8080}, "port is 8080"),
        ({"port": 80}, "port is 80"),
        ({"command": "python main.py"}, "command is 'python main.py'"),
        ({"command": []}, "command is"),
        ({"environment": {"A-B": "c"}}, "'A-B'"),
        ({"environment": {"A": 1}}, "'A'"),
    ],
    ids="text package relative parent probes low one-text empty name number".split(),
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=r"Engine\.comfyui") as caught:
        Engine.comfyui(**{"image": OWN, **arguments})
    assert says in str(caught.value)


def test_all_wrong_arguments_are_named_at_once() -> None:
    with pytest.raises(ValueError, match="home") as caught:
        Engine.sdwebui(image=OWN, home="x", port=1)
    assert "port is 1" in str(caught.value)
