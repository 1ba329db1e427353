"""What the fields of a workload may be: one rule for each, for files and for values in code."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, TypeVar

_RULE = "rule"
_SHOWN_CHARACTERS = 60

_Value = TypeVar("_Value", bound="Checked")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What a field may be.

    Attributes:
        whole: Whether it is a whole number.
        least: The least.
        most: The most.
        above: Whether it must be more than the least.
        many: Whether it is several such numbers.
    """

    whole: bool = False
    least: float = 0.0
    most: float = math.inf
    above: bool = False
    many: bool = False

    def fault(self, value: object) -> str | None:
        """Return what is wrong with a value, if anything is."""
        if self.many:
            if not isinstance(value, (list, tuple)) or not value:
                return f"must be a list of numbers, is {shown(value)}"
            return next((fault for each in value if (fault := self._fault(each))), None)
        return self._fault(value)

    def _fault(self, value: object) -> str | None:
        allowed = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, allowed) or not math.isfinite(value):
            return f"must be a {'whole ' if self.whole else ''}number, is {shown(value)}"
        if value < self.least or (self.above and value == self.least) or value > self.most:
            return f"must be {self._range()}, is {shown(value)}"
        return None

    def _range(self) -> str:
        if self.most < math.inf:
            return f"{self.least:,g} to {self.most:,g}"
        return f"more than {self.least:,g}" if self.above else f"at least {self.least:,g}"


def number(
    default: Any = MISSING,
    *,
    least: float = 0.0,
    most: float = math.inf,
    above: bool = False,
    many: bool = False,
) -> Any:
    """Return a dataclass field for a number.

    Args:
        default: Its default. Default: it must be given.
        least: The least. Default: 0.
        most: The most. Default: no bound.
        above: Whether it must be more than the least. Default: no.
        many: Whether it is several such numbers. Default: no.
    """
    return _field(default, Rule(least=least, most=most, above=above, many=many))


def whole(
    default: Any = MISSING, *, least: int = 0, most: float = math.inf, many: bool = False
) -> Any:
    """Return a dataclass field for a whole number.

    Args:
        default: Its default. Default: it must be given.
        least: The least. Default: 0.
        most: The most. Default: no bound.
        many: Whether it is several such numbers. Default: no.
    """
    return _field(default, Rule(whole=True, least=least, most=most, many=many))


def _field(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={_RULE: rule})


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A value that refuses wrong fields, all of them in one error."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: Naming every field that is wrong.
        """
        faults = list(_faults({each.name: getattr(self, each.name) for each in fields(self)}, self))
        faults = faults or self._faults()
        if faults:
            raise ValueError(f"{type(self).__name__}: {'; '.join(faults)}")

    def _faults(self) -> list[str]:
        """Return what is wrong with fields that are right one by one."""
        return []


def read(
    kind: type[_Value], table: object, where: str, faults: list[str], **others: Any
) -> _Value | None:
    """Make a value of a table of a file.

    Args:
        kind: What to make; its fields are the table's keys.
        table: The table.
        where: What the file calls it.
        faults: Where to add what is wrong.
        **others: Fields that do not come from the table, or not as they are.

    Returns:
        The value, or None if the table is wrong.
    """
    before = len(faults)
    if not isinstance(table, dict):
        faults.append(f"{where} must be a table, is {shown(table)}")
        return None
    known = {each.name: each for each in fields(kind) if each.name not in others}
    refuse_unknown(table, known, where, faults)
    for name, each in known.items():
        if name not in table and each.default is MISSING and each.default_factory is MISSING:
            faults.append(f"{where}.{name} is missing")
    given = {name: _frozen(value) for name, value in table.items() if name in known}
    faults += [f"{where}.{fault}" for fault in _faults(given, kind)]
    if len(faults) > before:
        return None
    try:
        return kind(**given, **others)
    except ValueError as error:
        faults.append(f"{where}: {str(error).partition(': ')[2]}")
        return None


def refuse_unknown(
    table: Mapping[str, object], known: Mapping[str, object], where: str, faults: list[str]
) -> None:
    """Add a fault for every key that a table may not have.

    Args:
        table: The table.
        known: What it may have.
        where: What the file calls it; empty for the file itself.
        faults: Where to add what is wrong.
    """
    for key in table:
        if key in known:
            continue
        near = get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        faults.append(f"{where}{'.' if where else ''}{key} is unknown: {hint}")


def shown(value: object) -> str:
    """Return a value as an error shows it."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _faults(values: Mapping[str, object], of: object) -> Iterator[str]:
    for each in fields(of):  # type: ignore[arg-type]
        rule = each.metadata.get(_RULE)
        if rule is None or each.name not in values:
            continue
        value = values[each.name]
        # None stands for a default that is worked out from other fields.
        if value is None and each.default is None:
            continue
        if fault := rule.fault(value):
            yield f"{each.name} {fault}"


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
