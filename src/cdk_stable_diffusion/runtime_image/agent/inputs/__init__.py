"""Input images: what a task refers to (`INPUT_FIELDS`), fetched without being led astray.

A reference comes from whoever may send tasks, so it is hostile until shown otherwise. It is one of

- ``s3://bucket/key``, where the bucket is the output bucket or one that the settings name,
- ``data:image/png;base64,...`` (or jpeg, or webp), within the request's own limit,
- ``https://host/path``, where the settings name the host, and every address that the host has is a
  public one.

Nothing else is ever fetched, prompts least of all. What comes back is bytes that begin like a PNG,
JPEG or WebP of a bearable size; the engine's process decodes them, never the agent.
"""

from __future__ import annotations

from .policy import InputPolicy
from .resolving import InputImages

__all__ = ["InputImages", "InputPolicy"]
