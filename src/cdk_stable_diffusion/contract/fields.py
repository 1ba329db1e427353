"""The kinds of fields that a document of the contract can have.

A field knows how to check a value and how to describe itself as JSON Schema, so that the code and
the schema cannot say different things. The schemas keep to the words of draft 4, because Amazon
API Gateway's request models read no later draft.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import strict_json
from .fault import Fault


@dataclass(frozen=True)
class Field:
    """One field of a document.

    Attributes:
        name: Its key.
        description: What it means, for schema, README and API reference.
        required: Whether it must be there.
        default: Its value when it is not there.
    """

    name: str
    description: str
    required: bool = False
    default: Any = None

    def faults(self, value: Any) -> list[str]:
        """Say what is wrong with a value.

        Args:
            value: The value, as read from JSON.

        Returns:
            One sentence a fault; empty if the value is good.
        """
        raise NotImplementedError

    def faults_within(self, value: Any) -> list[Fault]:
        """Say what is wrong with a value, and where inside it.

        Args:
            value: The value, as read from JSON.

        Returns:
            The faults, each with a pointer from the value on; empty if the value is good.
        """
        return [Fault("", detail) for detail in self.faults(value)]

    def schema(self) -> dict[str, Any]:
        """Return the field's JSON Schema."""
        return {**self._type_schema(), "description": self._described()}

    def _type_schema(self) -> dict[str, Any]:
        raise NotImplementedError

    def _described(self) -> str:
        return self.description


@dataclass(frozen=True)
class Text(Field):
    """A string.

    Attributes:
        min_length: Fewest characters.
        max_length: Most characters.
        pattern: Regular expression that the whole string must match, if any.
        pattern_says: The pattern in words.
    """

    min_length: int = 0
    max_length: int = 256
    pattern: str | None = None
    pattern_says: str = ""

    def faults(self, value: Any) -> list[str]:
        """Say what is wrong with a value."""
        if not isinstance(value, str):
            return [f"must be a string, not {json_type(value)}"]
        found = []
        if not self.min_length <= len(value) <= self.max_length:
            least, most = self.min_length, self.max_length
            allowed = f"{most}" if least == most else f"{least} to {most}"
            found.append(f"must have {allowed} characters, has {len(value)}")
        elif self.pattern and not re.fullmatch(self.pattern, value):
            found.append(f"must be {self.pattern_says}, is {value[:64]!r}")
        if "\x00" in value:
            found.append("must not hold the character U+0000")
        return found

    def _type_schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string", "maxLength": self.max_length}
        if self.min_length:
            schema["minLength"] = self.min_length
        if self.pattern:
            schema["pattern"] = f"^(?:{self.pattern})$"
        return schema


@dataclass(frozen=True)
class ImageReference(Field):
    """Where a picture is. What is wrong is said without its text, which may hold the picture.

    Only the spelling is checked here. Whether the place is one that may be read from is for the
    runtime that reads it.

    Attributes:
        max_length: Most characters.
    """

    max_length: int = 256

    _PATTERN = (
        r"data:image/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}"
        r"|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\x00-\x1f\x7f]+"
        r"|https://[!-~]+"
    )

    def faults(self, value: Any) -> list[str]:
        """Say what is wrong with a value."""
        if not isinstance(value, str):
            return [f"must be a string, not {json_type(value)}"]
        if len(value) > self.max_length:
            return [f"must have at most {self.max_length} characters, has {len(value)}"]
        if not re.fullmatch(self._PATTERN, value):
            return [
                "must be s3://bucket/key, an https:// URL of printable ASCII, or base64 behind "
                "data:image/png;base64, (or jpeg, or webp)"
            ]
        return []

    def _type_schema(self) -> dict[str, Any]:
        return {
            "type": "string",
            "maxLength": self.max_length,
            "pattern": f"^(?:{self._PATTERN})$",
        }


@dataclass(frozen=True)
class Integer(Field):
    """A whole number.

    Attributes:
        minimum: Smallest value.
        maximum: Largest value.
        multiple_of: What it must be a multiple of.
    """

    minimum: int = 0
    maximum: int = 2**53 - 1
    multiple_of: int = 1

    def faults(self, value: Any) -> list[str]:
        """Say what is wrong with a value."""
        if isinstance(value, bool) or not isinstance(value, int):
            return [f"must be a whole number, not {json_type(value)}"]
        if not self.minimum <= value <= self.maximum or value % self.multiple_of:
            multiple = f" and a multiple of {self.multiple_of}" if self.multiple_of > 1 else ""
            return [f"must be {self.minimum} to {self.maximum}{multiple}, is {shown(value)}"]
        return []

    def _type_schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {
            "type": "integer",
            "minimum": self.minimum,
            "maximum": self.maximum,
        }
        if self.multiple_of > 1:
            schema["multipleOf"] = self.multiple_of
        return schema


@dataclass(frozen=True)
class Number(Field):
    """A number.

    Attributes:
        minimum: Smallest value.
        maximum: Largest value.
    """

    minimum: float = 0.0
    maximum: float = 1.0

    def faults(self, value: Any) -> list[str]:
        """Say what is wrong with a value."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return [f"must be a number, not {json_type(value)}"]
        if (isinstance(value, float) and not math.isfinite(value)) or not (
            self.minimum <= value <= self.maximum
        ):
            return [f"must be {self.minimum:g} to {self.maximum:g}, is {shown(value)}"]
        return []

    def _type_schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True)
class Choice(Field):
    """One of a few strings.

    Attributes:
        choices: The strings.
    """

    choices: tuple[str, ...] = ()

    def faults(self, value: Any) -> list[str]:
        """Say what is wrong with a value."""
        if isinstance(value, str) and value in self.choices:
            return []
        allowed = ", ".join(self.choices)
        return [f"must be one of {allowed}; is {shown(value)}"]

    def _type_schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.choices)}


@dataclass(frozen=True)
class AnyJson(Field):
    """Any JSON value, limited in size and depth.

    Attributes:
        max_bytes: Most bytes as compact UTF-8 JSON.
        max_depth: Deepest nesting.
    """

    max_bytes: int = 1024
    max_depth: int = 8

    def faults(self, value: Any) -> list[str]:
        """Say what is wrong with a value."""
        if _deeper_than(value, self.max_depth):
            return [f"must not be nested more than {self.max_depth} deep"]
        try:
            size = len(strict_json.dumps(value).encode("utf-8"))
        except (UnicodeEncodeError, ValueError, TypeError):
            return ["must be JSON"]
        if size > self.max_bytes:
            return [f"must have at most {self.max_bytes} bytes as JSON, has {size}"]
        return []

    def _type_schema(self) -> dict[str, Any]:
        return {}

    def _described(self) -> str:
        return (
            f"{self.description} At most {self.max_bytes} bytes as JSON, at most "
            f"{self.max_depth} levels deep."
        )


@dataclass(frozen=True)
class ObjectField(Field):
    """A field that holds an object, or a list of such objects.

    Attributes:
        fields: The fields of the object.
        many: Whether it is a list.
        max_items: Most objects in the list; None for no limit.
        key: Field whose value no two objects of the list may share, if any.
    """

    fields: tuple[Field, ...] = ()
    many: bool = False
    max_items: int | None = None
    key: str = ""

    def faults(self, value: Any) -> list[str]:
        """Say what is wrong with a value."""
        return _sentences(self.faults_within(value))

    def faults_within(self, value: Any) -> list[Fault]:
        """Say what is wrong with a value, and where inside it."""
        if not self.many:
            return object_faults(value, self.fields)
        if not isinstance(value, list):
            return [Fault("", "must be an array")]
        if self.max_items is not None and len(value) > self.max_items:
            return [Fault("", f"must have at most {self.max_items} items, has {len(value)}")]
        found = [
            Fault(f"/{index}{fault.pointer}", fault.detail)
            for index, item in enumerate(value)
            for fault in object_faults(item, self.fields)
        ]
        if not found and self.key:
            found = repetitions([item[self.key] for item in value], f"/{self.key}")
        return found

    def _type_schema(self) -> dict[str, Any]:
        schema = object_schema(self.fields)
        if not self.many:
            return schema
        limit = {} if self.max_items is None else {"maxItems": self.max_items}
        return {"type": "array", "items": schema, **limit}


@dataclass(frozen=True)
class TextList(Field):
    """A list of different strings.

    Attributes:
        items: What each must be.
        max_items: Most strings in the list.
    """

    items: Text = Text("item", "An item.")
    max_items: int = 8

    def faults(self, value: Any) -> list[str]:
        """Say what is wrong with a value."""
        return _sentences(self.faults_within(value))

    def faults_within(self, value: Any) -> list[Fault]:
        """Say what is wrong with a value, and where inside it."""
        if not isinstance(value, list):
            return [Fault("", "must be an array")]
        if len(value) > self.max_items:
            return [Fault("", f"must have at most {self.max_items} items, has {len(value)}")]
        found = [
            Fault(f"/{index}", detail)
            for index, item in enumerate(value)
            for detail in self.items.faults(item)
        ]
        return found or repetitions(value)

    def _type_schema(self) -> dict[str, Any]:
        return {
            "type": "array",
            "items": self.items.schema(),
            "maxItems": self.max_items,
            "uniqueItems": True,
        }


def repetitions(values: Sequence[str], suffix: str = "") -> list[Fault]:
    """Say which of a list's values stand in it again.

    Args:
        values: The values.
        suffix: What follows an item's number in the pointer to its value. Default: nothing.
    """
    return [
        Fault(f"/{index}{suffix}", f"is {shown(value)} again: once is enough")
        for index, value in enumerate(values)
        if value in values[:index]
    ]


def object_faults(value: Any, fields: Sequence[Field]) -> list[Fault]:
    """Check a JSON object against its fields.

    Args:
        value: The value, as read from JSON.
        fields: The fields that the object may have.

    Returns:
        Every fault: unknown fields, missing fields, wrong values. Fields are allowed to be null
        where they are not required, which means the same as leaving them out.
    """
    if not isinstance(value, dict):
        return [Fault("", f"must be a JSON object, not {json_type(value)}")]
    known = {field.name: field for field in fields}
    faults = [
        Fault(pointer(name), f"is not a field of this document; the fields are {', '.join(known)}")
        for name in value
        if name not in known
    ]
    for field in fields:
        if value.get(field.name) is None:
            if field.required:
                faults.append(Fault(pointer(field.name), "is missing"))
            continue
        faults += [
            Fault(pointer(field.name) + fault.pointer, fault.detail)
            for fault in field.faults_within(value[field.name])
        ]
    return faults


def object_schema(fields: Sequence[Field]) -> dict[str, Any]:
    """Return the JSON Schema of an object with these fields and no others."""
    properties = {}
    for field in fields:
        schema = field.schema()
        if not field.required and "type" in schema:
            schema["type"] = [schema["type"], "null"]
            if "enum" in schema:
                schema["enum"] = [*schema["enum"], None]
        if field.default is not None:
            schema["default"] = field.default
        properties[field.name] = schema
    required = [field.name for field in fields if field.required]
    return {
        "type": "object",
        "properties": properties,
        # Draft 4 does not allow an empty list here.
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def with_defaults(value: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """Return the values of all fields, with defaults where a value is missing or null."""
    return {
        field.name: field.default if value.get(field.name) is None else value[field.name]
        for field in fields
    }


def pointer(name: str) -> str:
    """Return the JSON Pointer to a field of the document."""
    return "/" + name[:64].replace("~", "~0").replace("/", "~1")


def json_type(value: Any) -> str:
    """Name the JSON type of a value, for people."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return f"the number {shown(value)}"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def shown(value: Any) -> str:
    """Show a value in a message, shortened."""
    if isinstance(value, (dict, list)):
        return json_type(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**20:
        # Python refuses to print integers of more than 4,300 digits.
        return "a number of more than 20 digits"
    text = repr(value)
    return text if len(text) <= 64 else text[:61] + "..."


def _sentences(faults: Sequence[Fault]) -> list[str]:
    return [f"{fault.pointer} {fault.detail}".strip() for fault in faults]


def _deeper_than(value: Any, depth: int) -> bool:
    if depth < 0:
        return True
    if isinstance(value, dict):
        return any(_deeper_than(item, depth - 1) for item in value.values())
    if isinstance(value, list):
        return any(_deeper_than(item, depth - 1) for item in value)
    return False
