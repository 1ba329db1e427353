"""Reads every policy document out of synthesised templates, whoever made it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Template = Mapping[str, Any]

_PSEUDO_PARAMETERS = {
    "AWS::Partition": "aws",
    "AWS::Region": "{region}",
    "AWS::AccountId": "{account}",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "{stack}",
    "AWS::StackId": "{stack id}",
    "AWS::NoValue": "",
}
_PRINCIPALS = ("Principal", "NotPrincipal")
_VARIABLE = re.compile(r"\$\{([^!}][^}]*)\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A statement of a policy.

    Attributes:
        where: Path of the construct that holds the policy, without its stack.
        effect: "Allow" or "Deny".
        sid: Its identifier, or "".
        actions: Its actions.
        resources: Its resources, with references as ``{path of the construct.attribute}``. Empty
            in the trust policy of a role, which has none.
        principals: Who is allowed or denied, in a policy of a resource.
        conditions: The operators and keys of its conditions, such as
            "ArnEquals aws:SourceArn".
        inverted: Which of its elements name what is not meant, such as "NotAction".
    """

    where: str
    effect: str
    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    principals: tuple[str, ...]
    conditions: tuple[str, ...]
    inverted: tuple[str, ...]


def statements(template: Template) -> Iterator[Statement]:
    """Return every statement of every policy in a template.

    Whatever has a list of statements is a policy, under whichever property it is and whether or
    not it is written as a JSON string: so none is missed because nobody thought of its kind.

    Args:
        template: A template with the paths of its constructs.
    """
    reader = _Reader(template)
    for name, resource in template.get("Resources", {}).items():
        where = reader.path(name)
        for document in reader.documents(resource.get("Properties", {})):
            for statement in _as_list(document["Statement"]):
                yield reader.statement(where, statement)
        if resource["Type"] == "AWS::Lambda::Permission":
            yield reader.permission(where, resource["Properties"])


def managed_policies(template: Template) -> Iterator[tuple[str, str]]:
    """Return every attachment of a policy that AWS keeps: path of the role, and the policy.

    Args:
        template: A template with the paths of its constructs.
    """
    reader = _Reader(template)
    for name, resource in template.get("Resources", {}).items():
        properties = resource.get("Properties", {})
        for policy in _as_list(properties.get("ManagedPolicyArns", [])):
            for arn in reader.choices(policy):
                if ":aws:policy/" in arn:
                    yield reader.path(name), arn.partition(":aws:policy/")[2]


class _Reader:
    """Turns what a template refers to into text."""

    def __init__(self, template: Template) -> None:
        self._resources = template.get("Resources", {})

    def path(self, name: str) -> str:
        """Return the path of a resource's construct without its stack."""
        path = self._resources.get(name, {}).get("Metadata", {}).get("aws:cdk:path", f"?/{name}")
        return str(path.partition("/")[2].removesuffix("/Resource"))

    def documents(self, value: Any) -> Iterator[dict[str, Any]]:
        """Return every policy document in a value."""
        match value:
            case {"Statement": list() | dict()}:
                yield value
            case {"Fn::Join": _} | {"Fn::Sub": _} | str():
                text = self.text(value)
                if '"Statement"' in text:
                    yield from self.documents(json.loads(text))
            case dict():
                for each in value.values():
                    yield from self.documents(each)
            case list():
                for each in value:
                    yield from self.documents(each)

    def statement(self, where: str, statement: Mapping[str, Any]) -> Statement:
        """Return a statement of a document."""
        known = {"Sid", "Effect", "Condition", *_PRINCIPALS}
        known |= {f"{no}{what}" for no in ("", "Not") for what in ("Action", "Resource")}
        assert set(statement) <= known, f"{where}: {statement}"
        return Statement(
            where=where,
            effect=statement["Effect"],
            sid=statement.get("Sid", ""),
            actions=self._texts(statement.get("Action", statement.get("NotAction", []))),
            resources=self._texts(statement.get("Resource", statement.get("NotResource", []))),
            principals=tuple(
                text
                for key in _PRINCIPALS
                for principal in self._principals(statement.get(key, []))
                for text in self._texts(principal)
            ),
            conditions=tuple(
                f"{operator} {key}"
                for operator, keys in statement.get("Condition", {}).items()
                for key in keys
            ),
            inverted=tuple(key for key in statement if key.startswith("Not")),
        )

    def permission(self, where: str, properties: Mapping[str, Any]) -> Statement:
        """Return what a permission of a function says, as the statement that Lambda makes of it."""
        keys = {"SourceArn": "ArnLike aws:SourceArn", "SourceAccount": "StringEquals "}
        return Statement(
            where=where,
            effect="Allow",
            sid="",
            actions=self._texts(properties["Action"]),
            resources=self._texts(properties["FunctionName"]),
            principals=self._texts(properties["Principal"]),
            conditions=tuple(says for key, says in keys.items() if key in properties),
            inverted=(),
        )

    def choices(self, value: Any) -> Iterator[str]:
        """Return what a value may be: more than one text where a condition decides."""
        match value:
            case {"Fn::If": [_, yes, no]}:
                yield from self.choices(yes)
                yield from self.choices(no)
            case _:
                yield self.text(value)

    def text(self, value: Any) -> str:
        """Return a value as text, with the paths of constructs in place of references."""
        match value:
            case str():
                return value
            case bool():
                return str(value).lower()
            case {"Fn::Join": [delimiter, items]}:
                return str(delimiter).join(self.text(item) for item in items)
            case {"Fn::Sub": str(text)}:
                return _VARIABLE.sub(lambda match: self.text({"Ref": match.group(1)}), text)
            case {"Ref": name} if name in _PSEUDO_PARAMETERS:
                return _PSEUDO_PARAMETERS[name]
            case {"Ref": name}:
                return f"{{{self.path(name)}}}"
            case {"Fn::GetAtt": [name, attribute]}:
                return f"{{{self.path(name)}.{attribute}}}"
            case {"Fn::ImportValue": name}:
                return f"{{{self.text(name)}}}"
            case {"Fn::Select": [int() | str() as index, {"Fn::Split": [str() as mark, whole]}]}:
                return f"{{part {index} of {self.text(whole)} split at {mark}}}"
            case _:
                raise ValueError(f"what is {value!r}?")

    def _principals(self, value: Any) -> list[Any]:
        return list(value.values()) if isinstance(value, dict) else [value]

    def _texts(self, value: Any) -> tuple[str, ...]:
        return tuple(self.text(each) for each in _as_list(value))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
