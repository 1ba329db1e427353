"""The Pod Security Standard "restricted", as the API server enforces it in a namespace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
_SECCOMP = ("Localhost", "RuntimeDefault")


def restricted_faults(pod: Mapping[str, Any]) -> list[str]:
    """Return what the standard forbids in a pod.

    Args:
        pod: Its specification.
    """
    return [*_pod_faults(pod), *_container_faults(pod)]


def _pod_faults(pod: Mapping[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"{name} is true"
    for volume in pod.get("volumes", ()):
        for kind in volume.keys() - {"name", *_VOLUMES}:
            yield f"volume {volume['name']} is of kind {kind}"
    if pod.get("securityContext", {}).get("sysctls"):
        yield "sysctls are set"


def _container_faults(pod: Mapping[str, Any]) -> Iterator[str]:
    of_pod = pod.get("securityContext", {})
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        own = container.get("securityContext", {})
        # What a container says goes before what its pod says.
        context = {**of_pod, **own}
        name = container["name"]
        if own.get("privileged"):
            yield f"{name} is privileged"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name} allows privilege escalation"
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", ()):
            yield f"{name} does not drop ALL capabilities"
        for capability in set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
            yield f"{name} adds the capability {capability}"
        if context.get("runAsNonRoot") is not True:
            yield f"{name} may run as root"
        if context.get("runAsUser") == 0:
            yield f"{name} runs as user 0"
        if context.get("seccompProfile", {}).get("type") not in _SECCOMP:
            yield f"{name} has no seccomp profile"
        if own.get("procMount", "Default") != "Default":
            yield f"{name} has another procMount"
        for port in container.get("ports", ()):
            if port.get("hostPort"):
                yield f"{name} has the host's port {port['hostPort']}"
