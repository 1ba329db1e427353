"""``python -m cdk_stable_diffusion.runtime_image.agent``: run an agent until it is told to stop."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from .allocator import keep_large_blocks_apart
from .signals import Signals

if TYPE_CHECKING:
    from ...contract import AgentEnvironment
    from .engine import Engine

EXIT_WRONG_ENVIRONMENT = 2
_SWITCH_SECONDS = 0.0005
"""How soon a waiting thread gets its turn: the one that gives the GPU its next task waits for one
that packs a picture or signs a call, by Python's default ten times as long."""


def main() -> int:
    """Run an agent.

    Returns:
        The exit status: 0 after a drain, 2 for a wrong environment.
    """
    # Before anything else is even imported: process 1 of a container, which this is, does not get
    # the signals that it does not catch.
    signals = Signals()
    signals.catch()
    sys.setswitchinterval(_SWITCH_SECONDS)
    keep_large_blocks_apart()
    from ...contract import AgentEnvironment
    from ..structured_log import set_up_logging

    set_up_logging("agent")
    try:
        environment = AgentEnvironment.from_environment(os.environ)
    except ValueError as error:
        logging.getLogger("cdk_stable_diffusion").error("%s", error)
        return EXIT_WRONG_ENVIRONMENT
    # The engine's imports take seconds, so it starts before this process imports the rest.
    try:
        engine = _engine(environment)
    except ValueError as error:
        logging.getLogger("cdk_stable_diffusion").error("%s", error)
        return EXIT_WRONG_ENVIRONMENT
    engine.start()
    from .service import serve

    return serve(environment, engine, signals)


def _engine(environment: AgentEnvironment) -> Engine:
    """Return what makes the pictures."""
    from ...contract.engines import DIFFUSERS

    if environment.engine == DIFFUSERS:
        from .child import ChildEngine

        return ChildEngine()
    from .http_engines import engine_for

    return engine_for(environment)


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    # A thread may still wait for an answer that nobody needs any more; it must not keep the
    # process.
    sys.stderr.flush()
    os._exit(status)
