"""The container of an engine that is not the agent's own.

It is a sidecar: an init container that is always restarted. So it starts before the agent, and ends
after the agent has ended its work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..contract.engines import REPLACE_NAME
from .disk import ENGINE_FILES_GIBIBYTES, ENGINE_ROOT_GIBIBYTES
from .engine import Engine
from .node_pool import GPU_RESOURCE

ENGINE_CONTAINER = "engine"
ENGINE_DIRECTORY = "/var/run/engine"
SKIP_CREDENTIALS = "eks.amazonaws.com/skip-containers"
"""Annotation of a pod: containers that get no credentials of its role."""

ENGINE_CPU = "1500m"
ENGINE_MEMORY = "8Gi"
_VOLUME = "engine"
_PROBE_SECONDS = 5
_KILL_SECONDS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineContainer:
    """The container, and what its pod has because of it.

    Attributes:
        engine: The engine.
        image: Its image's name.
    """

    engine: Engine
    image: str

    def container(self, *, model_cache: Mapping[str, Any]) -> dict[str, Any]:
        """Return the container.

        Args:
            model_cache: The agent's mount of the model cache.
        """
        engine = self.engine
        models = engine.models_directory
        return {
            "name": ENGINE_CONTAINER,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "restartPolicy": "Always",
            **({} if engine.command is None else {"command": list(engine.command)}),
            "env": [
                {"name": name, "value": value}
                # User 10001 has no other home.
                for name, value in {"HOME": "/tmp", **dict(engine.environment)}.items()
            ],
            # The agent knows whether it works; the kubelet could not reach it on 127.0.0.1. It is
            # for the agent to say that it must be replaced, by a file: so it lives also while
            # there is no agent yet.
            "livenessProbe": {
                "exec": {"command": ["/bin/sh", "-c", f"! test -e {models}/{REPLACE_NAME}"]},
                "initialDelaySeconds": _PROBE_SECONDS,
                "periodSeconds": _PROBE_SECONDS,
                "timeoutSeconds": _PROBE_SECONDS,
                "failureThreshold": 1,
                "terminationGracePeriodSeconds": _KILL_SECONDS,
            },
            "resources": {
                "requests": {
                    "cpu": ENGINE_CPU,
                    "memory": ENGINE_MEMORY,
                    "ephemeral-storage": f"{ENGINE_ROOT_GIBIBYTES}Gi",
                },
                "limits": {GPU_RESOURCE: "1"},
            },
            # Such programs write beside their own files.
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": False,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                # At the same path, since the agent shows models by links into it.
                {**model_cache, "readOnly": True},
                {"name": _VOLUME, "subPath": "models", "mountPath": models, "readOnly": True},
                *(
                    {"name": _VOLUME, "subPath": name, "mountPath": path}
                    for name, path in engine.file_directories.items()
                ),
            ],
        }

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations of the pod: the engine gets none of the agent's rights in AWS."""
        return {SKIP_CREDENTIALS: ENGINE_CONTAINER}

    @property
    def agent_mount(self) -> dict[str, Any]:
        """Where the agent has what it shares with the engine."""
        return {"name": _VOLUME, "mountPath": ENGINE_DIRECTORY}

    @property
    def volume(self) -> dict[str, Any]:
        """The volume that they share."""
        return {"name": _VOLUME, "emptyDir": {"sizeLimit": f"{ENGINE_FILES_GIBIBYTES}Gi"}}
