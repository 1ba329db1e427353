"""Evaluates the rules in the schemas of custom resources, which are written in CEL."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from .fault import Fault, field_path
from .schema import Schema
from .token import has_token, holds_token, readable, with_tokens_as

if TYPE_CHECKING:
    import celpy
    from celpy import celtypes

_LITERAL = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_LIKELY_VALUES: tuple[tuple[str, Any], ...] = (("1", 0), ("1", 1_000_000_000), ("1", True))


def rule_faults(value: Any, schema: Schema, path: tuple[object, ...] = ()) -> Iterator[Fault]:
    """Yield the rules of a schema that do not hold for a value, and for what is in it.

    Args:
        value: A resource that its schema has been applied to, or a part of one.
        schema: Its schema as the definition of the custom resource has it.
        path: Where it is in its resource.
    """
    for rule in schema.get("x-kubernetes-validations", ()):
        # A rule about the former value is for updates.
        if "oldSelf" not in rule["rule"] and not _may_hold(rule["rule"], value):
            yield Fault(
                field=field_path(path) or "resource", says=str(rule.get("message", rule["rule"]))
            )
    if isinstance(value, Mapping):
        fields = schema.get("properties", {})
        other = schema.get("additionalProperties")
        for name, item in value.items():
            inner = fields.get(name, other if isinstance(other, Mapping) else None)
            if inner is not None:
                yield from rule_faults(item, inner, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from rule_faults(item, schema.get("items", {}), (*path, index))


def _may_hold(rule: str, value: Any) -> bool:
    """Tell whether a rule holds, or may hold once all is known.

    What is not known could be anything. It is tried as what makes rules hold: a string that the
    rule itself names, and some likely values. A rule that holds for none of them will not.
    """
    if has_token(value) or _holds(rule, readable(value)):
        return True
    if not holds_token(value):
        return False
    named = [(first or second, 1) for first, second in _LITERAL.findall(rule)]
    return any(
        _holds(rule, with_tokens_as(value, text=text, untyped=untyped))
        for text, untyped in (*_LIKELY_VALUES, *named)
    )


def _holds(rule: str, value: Any) -> bool:
    import celpy

    try:
        return bool(_program(rule).evaluate({"self": celpy.json_to_cel(value)}))
    except celpy.CELEvalError:
        # The API server refuses what a rule cannot be evaluated on.
        return False


@cache
def _program(rule: str) -> celpy.Runner:
    import celpy

    limit = sys.getrecursionlimit()
    try:
        # It sets a limit of its own for the whole process, and no rule here needs it.
        environment = celpy.Environment()
    finally:
        sys.setrecursionlimit(limit)
    return environment.program(
        environment.compile(rule), functions={"find": _find, "split": _split}
    )


def _find(text: celtypes.StringType, pattern: celtypes.StringType) -> celtypes.StringType:
    """Kubernetes' own string function: the first match of a pattern, or nothing."""
    from celpy import celtypes

    match = re.search(str(pattern), str(text))
    return celtypes.StringType(match.group(0) if match else "")


def _split(text: celtypes.StringType, separator: celtypes.StringType) -> celtypes.ListType:
    """Kubernetes' own string function: the parts between separators."""
    from celpy import celtypes

    return celtypes.ListType(
        [celtypes.StringType(part) for part in str(text).split(str(separator))]
    )
