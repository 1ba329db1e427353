"""The replicas of a runtime in a cluster: the ready pods of a Service, as Kubernetes tells."""

from __future__ import annotations

import json
import os
import ssl
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .members_view import MembersView

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LOOK_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 30.0
_TIMEOUT_SECONDS = 5.0
_MOST_BYTES = 16 << 20


class KubernetesMembers(MembersView):
    """Pods that the EndpointSlices of a Service name, with this one in any case.

    A pod is among them as long as it is ready and is not to end; Kubernetes knows when this one is.
    """

    def __init__(
        self, service: str, name: str, *, api_url: str | None = None, account: Path = _ACCOUNT
    ) -> None:
        """Prepare, without starting.

        Args:
            service: Namespace and name of the Service, with a slash between.
            name: This pod's name.
            api_url: Where the Kubernetes API is. Default: where it is for every pod.
            account: Directory with the service account's token and the API's certificate.
                Default: where they are in every pod.
        """
        super().__init__(
            name, look_seconds=_LOOK_SECONDS, longest_pause_seconds=_LONGEST_PAUSE_SECONDS
        )
        namespace, _, service_name = service.partition("/")
        query = urllib.parse.urlencode(
            {
                "labelSelector": f"kubernetes.io/service-name={service_name}",
                # From the API server's cache: an older view does no harm.
                "resourceVersion": "0",
            }
        )
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self._url = f"{api_url or _api_url()}{path}?{query}"
        self._account = account
        self._opener: Callable[[urllib.request.Request], Any] | None = None

    def _look(self) -> Iterator[str]:
        return _ready_pods(self._ask())

    def _ask(self) -> Any:
        # The token is replaced while the pod lives.
        token = (self._account / "token").read_text("ascii").strip()
        request = urllib.request.Request(
            self._url, headers={"Authorization": f"Bearer {token}", "Accept": "application/json"}
        )
        if self._opener is None:
            self._opener = _opener(self._account / "ca.crt")
        with self._opener(request) as answer:
            return json.loads(answer.read(_MOST_BYTES))


def _ready_pods(slices: Any) -> Iterator[str]:
    for each in slices["items"]:
        for endpoint in each.get("endpoints") or ():
            target = endpoint.get("targetRef") or {}
            # What is not said counts as ready.
            ready = (endpoint.get("conditions") or {}).get("ready")
            if ready is not False and target.get("kind") == "Pod":
                yield target["name"]


def _api_url() -> str:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _opener(certificate: Path) -> Callable[[urllib.request.Request], Any]:
    """Return what sends a request: to the API itself, whatever proxies there are for others."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if certificate.exists():
        context = ssl.create_default_context(cafile=str(certificate))
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    return lambda request: opener.open(request, timeout=_TIMEOUT_SECONDS)
