"""Checks a resource against the schema of its kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

from .fault import Fault, field_path
from .schema import Schema
from .token import has_token, is_untyped, readable

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

    Check = Callable[[Any, Any, Any, Mapping[str, Any]], Iterator[ValidationError]]

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}
_SHOWN_CHARACTERS = 60


def structure_faults(resource: Mapping[str, Any], schema: Schema) -> Iterator[Fault]:
    """Yield what the schema of a kind refuses in a resource.

    Args:
        resource: The resource.
        schema: A JSON Schema of its kind.
    """
    validator = _validator_class()(schema)
    for error in validator.iter_errors(resource):
        yield Fault(field=field_path(error.absolute_path) or "resource", says=error.message)


@cache
def _validator_class() -> type[Validator]:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    made: type[Validator] = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator,
        {
            **{
                keyword: _unless_untyped(check)
                for keyword, check in Draft202012Validator.VALIDATORS.items()
                if not keyword.startswith("$")
            },
            "additionalProperties": _unless_untyped(_additional_properties),
            "enum": _unless_token(_enum),
            "maximum": _unless_untyped(_maximum),
            "minItems": _unless_untyped(_min_items),
            "minimum": _unless_untyped(_minimum),
            "oneOf": _unless_untyped(_one_of),
            "pattern": _unless_token(_pattern),
            "propertyNames": _unless_untyped(_property_names),
            "required": _unless_untyped(_required),
            "type": _unless_untyped(_type),
            # What is too short or too long by its stand-in says nothing.
            "maxLength": _unless_token(Draft202012Validator.VALIDATORS["maxLength"]),
            "minLength": _unless_token(Draft202012Validator.VALIDATORS["minLength"]),
            # A hint only, such as "int32".
            "format": lambda validator, format, instance, schema: iter(()),
        },
    )
    return made


def _unless_untyped(check: Check) -> Check:
    """Return a check that holds for whatever is known only at deployment."""

    def checked(
        validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        return iter(()) if is_untyped(instance) else check(validator, value, instance, schema)

    return checked


def _unless_token(check: Check) -> Check:
    """Return a check that holds for strings of which some part is known only at deployment."""

    def checked(
        validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        return iter(()) if has_token(instance) else check(validator, value, instance, schema)

    return checked


def _error(message: str, *path: str) -> ValidationError:
    from jsonschema.exceptions import ValidationError

    return ValidationError(message, path=path)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known = schema.get("properties", {})
    for name in instance.keys() - known.keys():
        if allowed is False:
            close = get_close_matches(name, known, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            yield _error(f"is no known field{meant}", name)
        elif isinstance(allowed, Mapping):
            yield from validator.descend(instance[name], allowed, path=name)


def _required(
    validator: Any, names: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name in names:
            if name not in instance:
                yield _error("is missing", name)


def _type(
    validator: Any, types: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not any(validator.is_type(instance, each) for each in _listed(types)):
        yield _wrong_type(instance, _listed(types))


def _one_of(
    validator: Any, schemas: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """Check a choice, which in Kubernetes' schemas is one of types."""
    if not any(validator.evolve(schema=each).is_valid(instance) for each in schemas):
        types = [each["type"] for each in schemas]
        yield _wrong_type(
            instance,
            [name for each in types for name in ([each] if isinstance(each, str) else each)],
        )


def _listed(types: str | list[str]) -> list[str]:
    return [types] if isinstance(types, str) else types


def _wrong_type(instance: Any, types: list[str]) -> ValidationError:
    names = list(dict.fromkeys(_TYPES[each] for each in types if each != "null"))
    return _error(f"is {_shown(instance)}: must be {' or '.join(names)}")


def _enum(
    validator: Any, values: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    # Kubernetes takes null for a field that is not set.
    if instance is not None and instance not in values:
        allowed = ", ".join(repr(value) for value in values if value)
        yield _error(f"is {_shown(instance)}: must be one of {allowed}")


def _pattern(
    validator: Any, pattern: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and re.search(pattern, instance) is None:
        yield _error(f"is {_shown(instance)}: must match {pattern}")


def _property_names(
    validator: Any, names: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name in instance:
            if not validator.evolve(schema=names).is_valid(name):
                yield _error(f"is no key of that form: must match {names['pattern']}", name)


def _minimum(
    validator: Any, least: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if validator.is_type(instance, "number") and instance < least:
        yield _error(f"is {instance}: at least {least}")


def _min_items(
    validator: Any, least: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(instance, list) and len(instance) < least:
        yield _error(f"has {len(instance)} items: at least {least}")


def _maximum(
    validator: Any, most: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if validator.is_type(instance, "number") and instance > most:
        yield _error(f"is {instance}: at most {most}")


def _shown(value: Any) -> str:
    text = repr(readable(value))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
