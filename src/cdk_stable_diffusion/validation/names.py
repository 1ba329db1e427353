"""What the API server takes for the name of a resource, which differs by kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .fault import Fault
from .token import has_token

_RULE = "name"
_PART = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    pattern: str
    longest: int
    says: str

    def takes(self, name: str) -> bool:
        return len(name) <= self.longest and re.fullmatch(self.pattern, name) is not None


_SUBDOMAIN = _Form(
    pattern=rf"{_PART}(\.{_PART})*",
    longest=253,
    says="must be a DNS subdomain (RFC 1123): lower-case letters, digits, '-' and '.', each part "
    "between dots from a letter or digit to a letter or digit, at most 253 characters",
)
_LABEL = _Form(
    pattern=_PART,
    longest=63,
    says="must be a DNS label (RFC 1123): lower-case letters, digits and '-', from a letter or "
    "digit to a letter or digit, at most 63 characters",
)
_SERVICE = _Form(
    pattern="[a-z]([-a-z0-9]*[a-z0-9])?",
    longest=63,
    says="must be a DNS label (RFC 1035): lower-case letters, digits and '-', from a letter to a "
    "letter or digit, at most 63 characters",
)
_CRON_JOB = _Form(
    pattern=_SUBDOMAIN.pattern,
    # The names of its jobs are longer by eleven.
    longest=52,
    says=_SUBDOMAIN.says.replace("253", "52"),
)
_PATH_SEGMENT = _Form(
    pattern=r"(?!\.{1,2}$)[^/%]+",
    longest=253,
    says="must have neither '/' nor '%', at most 253 characters, and not be '.' or '..'",
)

_FORMS: Mapping[tuple[str, str], _Form] = {
    ("", "Event"): _PATH_SEGMENT,
    ("", "Namespace"): _LABEL,
    ("", "Service"): _SERVICE,
    ("apiregistration.k8s.io", "APIService"): _PATH_SEGMENT,
    ("apps", "StatefulSet"): _LABEL,
    ("batch", "CronJob"): _CRON_JOB,
    ("certificates.k8s.io", "CertificateSigningRequest"): _PATH_SEGMENT,
    ("certificates.k8s.io", "ClusterTrustBundle"): _PATH_SEGMENT,
    ("networking.k8s.io", "IPAddress"): _PATH_SEGMENT,
    ("policy", "PodDisruptionBudget"): _PATH_SEGMENT,
    ("rbac.authorization.k8s.io", "ClusterRole"): _PATH_SEGMENT,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _PATH_SEGMENT,
    ("rbac.authorization.k8s.io", "Role"): _PATH_SEGMENT,
    ("rbac.authorization.k8s.io", "RoleBinding"): _PATH_SEGMENT,
}
"""API groups and kinds whose names are no DNS subdomains, or shorter ones."""

# Their kinds are questions to the API server, which keeps none.
_GROUPS_WITHOUT_NAMES = ("authentication.k8s.io", "authorization.k8s.io")


def name_faults(resource: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the name of a resource, and with that of its namespace.

    Args:
        resource: The resource, of a kind that is known.
    """
    metadata = resource.get("metadata")
    given = metadata if isinstance(metadata, Mapping) else {}
    group = resource["apiVersion"].rpartition("/")[0]
    form = _FORMS.get((group, resource["kind"]), _SUBDOMAIN)
    if not given.get("name") and not given.get("generateName"):
        if group not in _GROUPS_WITHOUT_NAMES:
            yield Fault(field="metadata.name", says="is missing", rule=_RULE)
    yield from _faults("name", given.get("name"), form)
    yield from _faults("generateName", given.get("generateName"), form)
    yield from _faults("namespace", given.get("namespace"), _LABEL)


def _faults(field: str, name: Any, form: _Form) -> Iterator[Fault]:
    # What is no string is for the schema to refuse, and "" is as if it were not there.
    if not isinstance(name, str) or not name or has_token(name):
        return
    # The API server puts letters and digits behind the dash that a prefix may end with.
    whole = re.sub("-$", "x", name) if field == "generateName" else name
    if not form.takes(whole):
        yield Fault(field=f"metadata.{field}", says=f"is {name!r}: {form.says}", rule=_RULE)
