"""Writes API.md and the README's reference tables from the code: ``python -m tools.docgen``.

``--check`` writes nothing and fails if a file would change. The constructs are read as text
(griffe), so nothing is imported and no AWS CDK is needed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

from cdk_stable_diffusion.contract.schemas import schema

ROOT = Path(__file__).parent.parent
PACKAGE = "cdk_stable_diffusion"
_STARS = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
REFERENCES = {"task-request": "request", "result-message": "result"}


def main() -> int:
    """Write or check the files.

    Returns:
        The exit status: 1 if ``--check`` found a file that is not up to date.
    """
    readme = ROOT / "README.md"
    texts = {ROOT / "API.md": api_reference(), readme: with_references(readme.read_text("utf-8"))}
    stale = [path for path, text in texts.items() if _current(path) != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.name} is not up to date: run python -m tools.docgen", file=sys.stderr)
        return bool(stale)
    for path in stale:
        path.write_text(texts[path], "utf-8")
    return 0


def api_reference() -> str:
    """Return the text of API.md."""
    package = griffe.load(PACKAGE, search_paths=[ROOT / "src"], docstring_parser="google")
    exported = [name for name in package.members if name[0].isupper() and name != "TYPE_CHECKING"]
    classes = [_resolved(package[name]) for name in sorted(exported)]
    lines = [
        "# API reference",
        "",
        "Generated from the docstrings by `tools/docgen.py`; do not edit.",
        "",
        "Everything is imported from `cdk_stable_diffusion`. The wire formats are in the",
        "[README](README.md#the-wire) and as JSON Schemas in",
        "`cdk_stable_diffusion/contract/schema/`.",
        "",
        *(f"- [{each.name}](#{each.name.lower()}): {_summary(each)}" for each in classes),
        "",
    ]
    for each in classes:
        lines += _class(each)
    return "\n".join(lines).rstrip() + "\n"


def with_references(text: str) -> str:
    """Return the README with its tables of the wire made anew."""
    for name, marker in REFERENCES.items():
        table = "\n".join(_schema_table(schema(name)))
        begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
        text = re.sub(
            re.escape(begin) + ".*?" + re.escape(end),
            lambda _, table=table, begin=begin, end=end: f"{begin}\n{table}\n{end}",  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
    return text


def _current(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def _resolved(member: Any) -> Any:
    return member.final_target if member.is_alias else member


def _summary(member: Any) -> str:
    return member.docstring.value.splitlines()[0] if member.docstring else ""


def _class(each: Any) -> list[str]:
    lines = [f"## {each.name}", ""]
    sections = _sections(each)
    lines += sections.get("text", [])
    constructor = each.members.get("__init__")
    # What is made by factories has no initializer of interest.
    if constructor is not None and constructor.parameters and "; made by " not in _summary(each):
        documented = _sections(constructor)
        # A dataclass's arguments are its attributes, and documented as such.
        described = documented.get("parameters") or sections.get("attributes", {})
        lines += [
            "### Initializer",
            "",
            "```python",
            *_signature(each.name, constructor),
            "```",
            "",
        ]
        lines += _parameter_table(constructor, described)
        lines += documented.get("raises", [])
    lines += _properties(each, sections.get("attributes", {}))
    for name, member in each.members.items():
        if name.startswith("_") or not member.is_function:
            continue
        lines += [f"### {each.name}.{name}", "", "```python", *_signature(name, member), "```", ""]
        documented = _sections(member)
        lines += documented.get("text", [])
        lines += _parameter_table(member, documented.get("parameters", {}))
        lines += documented.get("returns", []) + documented.get("raises", [])
    return lines


def _sections(member: Any) -> dict[str, Any]:
    """Return a docstring's parts by kind, ready to print."""
    parts: dict[str, Any] = {"text": []}
    if not member.docstring:
        return parts
    for section in member.docstring.parse("google"):
        kind = section.kind.value
        if kind in ("parameters", "attributes"):
            parts[kind] = {item.name: _flat(item.description) for item in section.value}
        elif kind == "returns":
            said = "; ".join(_flat(item.description) for item in section.value)
            parts["returns"] = [f"Returns: {said}", ""]
        elif kind == "raises":
            parts["raises"] = [
                f"Raises `{item.annotation}`: {_flat(item.description)}" for item in section.value
            ] + [""]
        elif kind == "examples":
            parts["text"] += ["```python", *(_code(text) for _, text in section.value), "```", ""]
        elif kind == "text":
            parts["text"] += [section.value, ""]
        elif kind == "admonition":
            said = section.value.description
            shown = ["```python", _code(said), "```"] if said.startswith(">>>") else [said]
            parts["text"] += [*shown, ""]
    return parts


def _code(text: str) -> str:
    """Return an example without its prompts and doctest's remarks."""
    lines = (re.sub(r"^(>>> ?|\.\.\. ?)", "", line) for line in text.splitlines())
    return "\n".join(re.sub(r" +# doctest: .*", "", line) for line in lines)


def _signature(name: str, function: Any) -> list[str]:
    parameters = [each for each in function.parameters if each.name not in ("self", "cls")]
    lines = [f"{name}("]
    keyword_only = False
    for each in parameters:
        if each.kind == griffe.ParameterKind.keyword_only and not keyword_only:
            lines.append("    *,")
            keyword_only = True
        variadic = each.kind in _STARS
        default = f" = {each.default}" if each.default is not None and not variadic else ""
        lines.append(f"    {_shown_name(each)}: {each.annotation}{default},")
    # A constructor is shown under its class's name.
    shown = function.returns and function.name != "__init__"
    returns = f" -> {function.returns}" if shown else ""
    if not parameters:
        return [f"{name}(){returns}"]
    return [*lines, f"){returns}"]


def _shown_name(parameter: Any) -> str:
    return _STARS.get(parameter.kind, "") + str(parameter.name)


def _parameter_table(function: Any, described: dict[str, str]) -> list[str]:
    rows = [
        (_shown_name(each), str(each.annotation or ""), described.get(_shown_name(each), ""))
        for each in function.parameters
        if each.name not in ("self", "cls")
    ]
    return _table(rows)


def _properties(each: Any, described: dict[str, str]) -> list[str]:
    if "dataclass" in each.labels:
        return []
    rows = list(_property_rows(each, described))
    return ["### Properties", "", *_table(rows)] if rows else []


def _property_rows(each: Any, described: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    for name, member in each.members.items():
        if name.startswith("_") or not member.is_attribute:
            continue
        said = described.get(name, "") or _flat(
            member.docstring.value.split("\n\n")[0] if member.docstring else ""
        )
        yield name, str(member.annotation or ""), said


def _table(rows: list[tuple[str, str, str]]) -> list[str]:
    if not rows:
        return []
    lines = ["| Name | Type | Description |", "| --- | --- | --- |"]
    for name, kind, said in rows:
        shown = f"`{kind}`".replace("|", "\\|") if kind else ""
        lines.append(f"| `{name}` | {shown} | {said.replace('|', chr(92) + '|')} |")
    return [*lines, ""]


def _schema_table(document: dict[str, Any], prefix: str = "") -> list[str]:
    lines = [] if prefix else ["| Field | Type | Meaning |", "| --- | --- | --- |"]
    for name, value in document["properties"].items():
        required = " (required)" if name in document.get("required", ()) and not prefix else ""
        lines.append(
            f"| `{prefix}{name}`{required} | {_schema_type(value)} | {value['description']} |"
        )
        inner = value.get("items", value)
        if "properties" in inner:
            lines += _schema_table(inner, f"{prefix}{name}{'[]' if 'items' in value else ''}.")
    return lines


def _schema_type(value: dict[str, Any]) -> str:
    kinds = value.get("type", "any JSON")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if "enum" in value:
        kind = ", ".join(f"`{each}`" for each in value["enum"] if each is not None)
    elif "minimum" in value:
        kind += f" {value['minimum']:,g} to {value['maximum']:,}".replace(".0", "")
        kind += f", multiple of {value['multipleOf']}" if "multipleOf" in value else ""
    elif "maxLength" in value:
        kind += f", at most {value['maxLength']:,} characters"
    if "default" in value:
        default = value["default"]
        kind += f"; default `{default}`" if default != "" else "; default empty"
    return kind


def _flat(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
