"""The version of the wire contract."""

from __future__ import annotations

CONTRACT_VERSION = "1"
"""Version of every message this release writes, and the only one that it reads.

It changes when a reader of the old version could misread a message; new optional fields do not
change it.
"""
