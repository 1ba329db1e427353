"""Kinds that there are not: no API group has them, though one has something near."""

from __future__ import annotations

from difflib import get_close_matches

from .fault import Fault
from .schema import api_versions_of, is_known_to_be_missing, kinds_of, kubernetes_version
from .token import has_token

# Other makers' groups may be as near as "apps.example.com" is to "apps".
_NEAR = 0.8


def missing_kind(api_version: str, kind: str) -> Fault | None:
    """Return why there cannot be a kind that has no schema, or None if there may be one.

    Args:
        api_version: API group and version of the kind.
        kind: The kind.
    """
    if has_token(api_version) or has_token(kind):
        return None
    if is_known_to_be_missing(api_version, kind):
        says = f"is {kind!r}: there is no such kind in {_where(api_version)}"
        return Fault(field="kind", says=says + _meant(api_version, kind))
    # A definition of a custom resource must have a group with a dot.
    group = api_version.rpartition("/")[0]
    groups = [version.rpartition("/")[0] for version in api_versions_of(kind)]
    if groups and ("." not in group or get_close_matches(group, groups, cutoff=_NEAR)):
        says = f"is {api_version!r}: there is no such API group"
        return Fault(field="apiVersion", says=says + _meant(api_version, kind))
    return None


def _where(api_version: str) -> str:
    if "." not in api_version or api_version.partition("/")[0].endswith(".k8s.io"):
        return f"{api_version} of Kubernetes {kubernetes_version()}"
    return api_version


def _meant(api_version: str, kind: str) -> str:
    # Wherever there is that kind is better than another kind.
    close = get_close_matches(api_version, api_versions_of(kind), n=1, cutoff=0)
    close = close or get_close_matches(kind, kinds_of(api_version), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
