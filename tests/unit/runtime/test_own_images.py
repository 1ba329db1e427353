"""Images that are not built from the package: published ones, and a user's own Dockerfile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack, Token
from aws_cdk.assertions import Annotations, Match

from cdk_stable_diffusion.runtime import RuntimeImage
from cdk_stable_diffusion.runtime.image import IMAGE_BY_TAG_WARNING
from tests.manifests.app_graph import KUBERNETES
from tests.manifests.compose import resources
from tests.unit.runtime.light_cluster import light_service

DIGEST = f"registry.example/agent@sha256:{'0' * 64}"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory to build an image in."""
    directory = tmp_path / "image"
    (directory / "gpu").mkdir(parents=True)
    (directory / "Dockerfile").write_text("FROM scratch")
    (directory / "gpu" / "Dockerfile").write_text("FROM scratch AS gpu")
    (directory / ".dockerignore").write_text("secret.txt\n")
    (directory / "secret.txt").write_text("not for the image")
    return directory


def built(image: RuntimeImage, out: Path) -> dict[str, Any]:
    """Return the source of the one image that an app publishes."""
    app = App(outdir=str(out))
    image._bind(Stack(app, "Service"))
    app.synth()
    (asset,) = json.loads((out / "Service.assets.json").read_text())["dockerImages"].values()
    return dict(asset["source"])


class TestDirectory:
    def test_is_built_from_its_dockerfile(self, directory: Path, tmp_path: Path) -> None:
        image = RuntimeImage.from_directory(
            directory, dockerfile="gpu/Dockerfile", build_arguments={"TORCH": "2.9", "A": "b"}
        )
        source = built(image, tmp_path / "out")
        assert source["dockerFile"] == "gpu/Dockerfile"
        assert source["dockerBuildArgs"] == {"A": "b", "TORCH": "2.9"}
        assert source["platform"] == "linux/amd64"

    def test_leaves_out_what_docker_ignores(self, directory: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        source = built(RuntimeImage.from_directory(str(directory)), out)
        assert not (out / source["directory"] / "secret.txt").exists()
        assert (out / source["directory"] / "Dockerfile").exists()

    def test_is_the_image_of_the_pods(self, directory: Path) -> None:
        service = light_service()
        runtime = service.add_runtime("Sdxl", image=RuntimeImage.from_directory(directory))
        assert ".dkr.ecr." in str(service.stack.resolve(runtime.image_uri))
        manifests = [
            each["Properties"]["Manifest"] for each in resources(service.template(), KUBERNETES)
        ]
        assert [".dkr.ecr." in str(each) for each in manifests].count(True) == 1

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"path": 5}, "path is 5: a directory, such as 'images/agent'"),
            ({"path": "no/where"}, "path is 'no/where': not a directory that exists"),
            pytest.param(
                {"path": Token.as_string({"Ref": "Path"})},
                "path is a token: it must be known at synthesis",
                id="token",
            ),
            (
                {"dockerfile": "Containerfile"},
                "dockerfile is 'Containerfile': there is no such file in '",
            ),
            ({"dockerfile": ""}, "dockerfile is '': there is no such file in '"),
            ({"dockerfile": None}, "dockerfile is None: a file in that directory"),
            ({"build_arguments": ["A=b"]}, "build_arguments is ['A=b']: text by name"),
            ({"build_arguments": {"A": 1}}, "build_arguments['A'] is 1: text"),
            pytest.param(
                {"build_arguments": {"A": Token.as_string({"Ref": "A"})}},
                "build_arguments['A'] is ",
                id="token",
            ),
        ],
    )
    def test_refuses(self, directory: Path, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=r"^RuntimeImage\.from_directory: ") as error:
            RuntimeImage.from_directory(**{"path": directory, **arguments})
        assert says in str(error.value)

    def test_names_every_fault_at_once(self, directory: Path) -> None:
        with pytest.raises(ValueError) as error:
            RuntimeImage.from_directory(directory, dockerfile="x", build_arguments={"A": 1})  # type: ignore[dict-item]
        assert "dockerfile is 'x'" in str(error.value)
        assert "build_arguments['A'] is 1" in str(error.value)

    def test_says_that_there_is_no_dockerfile(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=f"'Dockerfile': there is no such file in '{tmp_path}"):
            RuntimeImage.from_directory(tmp_path)


class TestTag:
    @pytest.mark.parametrize("uri", ["registry.example/agent:1", "registry.example/agent"])
    def test_is_warned_of(self, uri: str) -> None:
        service = light_service()
        service.add_runtime("Sdxl", image=RuntimeImage.from_registry(uri))
        Annotations.from_stack(service.stack).has_warning(
            "/Service/Sdxl", Match.string_like_regexp(f"has no digest.*{IMAGE_BY_TAG_WARNING}")
        )

    @pytest.mark.parametrize(
        "uri",
        [
            DIGEST,
            f"registry.example/agent:1@sha512:{'0' * 128}",
            Token.as_string({"Ref": "Image"}),
        ],
        ids=["digest", "longer-digest", "token"],
    )
    def test_is_not_seen_where_there_is_none(self, uri: str) -> None:
        service = light_service()
        service.add_runtime("Sdxl", image=RuntimeImage.from_registry(uri))
        Annotations.from_stack(service.stack).has_no_warning("*", Match.any_value())
