"""Every limit of the contract, in one place.

The JSON Schemas, the API's validation, the agent's validation and the README's reference are all
made from these numbers.
"""

from __future__ import annotations

MAX_REQUEST_BYTES = 64 * 1024
"""Largest request body, in bytes of UTF-8.

An SNS message may have 262,144 bytes with its attributes; this leaves room for what the API adds
even if every character is escaped as JSON.
"""

MAX_PROMPT_CHARACTERS = 4_000
MAX_CONTEXT_BYTES = 8 * 1024
"""Largest `context`, in bytes of compact UTF-8 JSON."""

MAX_CONTEXT_DEPTH = 32
"""Deepest nesting of arrays and objects in `context`."""

MAX_MODEL_NAME_CHARACTERS = 128
MAX_OUTPUT_PREFIX_CHARACTERS = 256
MAX_IDEMPOTENCY_KEY_CHARACTERS = 128

MIN_SIDE_PIXELS = 64
MAX_SIDE_PIXELS = 2_048
SIDE_MULTIPLE_PIXELS = 8
"""Width and height are multiples of this, because the latent space is 8 times smaller."""

MAX_PIXELS_PER_TASK = 4 * 2_048 * 2_048
"""Most pixels in one task: width x height x number of images, where all are given."""

MAX_OUTPUT_SIDE = 2**15
"""Longest side of a picture that comes out, which upscaling may make longer than drawing."""

MIN_STEPS = 1
MAX_STEPS = 150
MIN_GUIDANCE_SCALE = 0.0
MAX_GUIDANCE_SCALE = 30.0
MAX_SEED = 2**32 - 1
MAX_IMAGES = 8

MAX_INPUT_BYTES = 20 * 1024 * 1024
"""Largest file of an input image, unless a runtime's settings say otherwise."""

MAX_INPUT_PIXELS = 4_096 * 4_096
"""Most pixels of an input image, unless a runtime's settings say otherwise."""

MAX_INPUT_REFERENCE_CHARACTERS = 60_000
"""Longest reference to an input image; a data URL must leave room in the request for the rest."""

MIN_STRENGTH = 0.0
MAX_STRENGTH = 1.0
MIN_SCALE = 2
MAX_SCALE = 4
SCALE_MULTIPLE = 2

MAX_ADAPTERS = 8
MIN_ADAPTER_WEIGHT = -4.0
MAX_ADAPTER_WEIGHT = 4.0
MAX_EMBEDDINGS = 8
MIN_CONTROL_SCALE = 0.0
MAX_CONTROL_SCALE = 2.0

MAX_OUTPUT_FILES = 64
"""Most files that one task may bring."""

MAX_OUTPUT_BYTES = 256 * 1024 * 1024
"""Most bytes of all files that one task brings from an engine which makes files."""

MAX_OUTPUT_PIXELS = 2**26
"""Most pixels of a picture from an engine which makes files."""

MAX_WORKFLOW_BYTES = 1024 * 1024
MAX_WORKFLOW_NODES = 1_000

MAX_ERROR_DETAIL_CHARACTERS = 2_000
"""Longest explanation in a failed result; longer ones are cut."""
