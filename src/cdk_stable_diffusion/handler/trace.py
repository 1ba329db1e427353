"""The trace that a task belongs to, as W3C trace context."""

from __future__ import annotations

import re

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_PARENT = re.compile(r"[0-9a-f]{16}")


def traceparent(header: str, amazon: str) -> str | None:
    """Return the trace context to hand on.

    Args:
        header: The request's ``traceparent`` header; empty if there is none.
        amazon: Lambda's X-Ray header (``_X_AMZN_TRACE_ID``); empty if there is none.

    Returns:
        The header if it is valid, else the X-Ray trace in W3C's form, else None.
    """
    return _from_header(header.strip()) or _from_amazon(amazon)


def _from_header(header: str) -> str | None:
    match = _TRACEPARENT.fullmatch(header)
    if match is None:
        return None
    version, trace, parent, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or not _are_ids(trace, parent):
        return None
    # A later version is read as far as this one goes, as W3C asks.
    return f"00-{trace}-{parent}-{flags}"


def _from_amazon(header: str) -> str | None:
    parts = dict(part.strip().partition("=")[::2] for part in header.split(";"))
    root = _ROOT.fullmatch(parts.get("Root", ""))
    parent = parts.get("Parent", "")
    if root is None or not _PARENT.fullmatch(parent):
        return None
    trace = root[1] + root[2]
    if not _are_ids(trace, parent):
        return None
    sampled = "01" if parts.get("Sampled") == "1" else "00"
    return f"00-{trace}-{parent}-{sampled}"


def _are_ids(trace: str, parent: str) -> bool:
    return bool(trace.strip("0") and parent.strip("0"))
