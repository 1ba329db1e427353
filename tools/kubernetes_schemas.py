"""Writes the schemas of Kubernetes' own kinds: ``python -m tools.kubernetes_schemas``.

They come from the package `kubernetes-validate`, which has those of every Kubernetes version and
more than 100 MB: `SdValidation` needs one version, without the descriptions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate

from cdk_stable_diffusion.cluster.versions import VERSIONS
from cdk_stable_diffusion.validation.schema import KUBERNETES_SCHEMAS

_NOT_NEEDED = ("description", "x-kubernetes-group-version-kind")


def main() -> None:
    """Write the file."""
    KUBERNETES_SCHEMAS.write_text(text(), "utf-8")
    print(f"{KUBERNETES_SCHEMAS.name}: {KUBERNETES_SCHEMAS.stat().st_size // 1_000} kB")


def text() -> str:
    """Return what the file must hold: one kind or definition a line, so that a change is seen."""
    definitions = _definitions()
    kinds = dict(sorted(_kinds(definitions)))
    used = _closure(definitions, kinds.values())
    return (
        f'{{"version": {json.dumps(VERSIONS.kubernetes)},\n"kinds": {{\n'
        + ",\n".join(_line(name, kinds[name]) for name in kinds)
        + '\n},\n"$defs": {\n'
        + ",\n".join(_line(name, _stripped(definitions[name])) for name in sorted(used))
        + "\n}}\n"
    )


def _definitions() -> dict[str, dict[str, Any]]:
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    path = folder / f"v{VERSIONS.kubernetes}.0-local-strict" / "_definitions.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))["$defs"]
    return found


def _kinds(definitions: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield every kind that can be applied, as ``apiVersion/kind``, with its definition."""
    for name, definition in definitions.items():
        if not {"kind", "metadata"} <= definition.get("properties", {}).keys():
            continue
        for names in definition.get("x-kubernetes-group-version-kind", ()):
            if not names["kind"].endswith("List"):
                parts = (names["group"], names["version"], names["kind"])
                yield "/".join(part for part in parts if part), name


def _closure(definitions: Mapping[str, Any], roots: Iterable[str]) -> set[str]:
    """Return the definitions that some need, with those themselves."""
    used: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting.extend(_references(definitions[name]))
    return used


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "$ref" and isinstance(item, str):
                yield item.removeprefix("#/$defs/")
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _stripped(schema: Any) -> Any:
    """Return a schema with what validates only."""
    if isinstance(schema, list):
        return [_stripped(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: {name: _stripped(field) for name, field in item.items()}
        if key == "properties"
        else _stripped(item)
        for key, item in schema.items()
        if key not in _NOT_NEEDED and not key.startswith("x-kubernetes-patch")
    }


def _line(name: str, value: Any) -> str:
    return f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'), sort_keys=True)}"


if __name__ == "__main__":
    main()
