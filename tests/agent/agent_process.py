"""The agent's real process, with the stand-in for its engine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cdk_stable_diffusion.runtime_image.agent import __main__ as program
from cdk_stable_diffusion.runtime_image.agent import child
from cdk_stable_diffusion.runtime_image.agent.child import ChildEngine

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in_engine.py")))

if __name__ == "__main__":
    command = (*STAND_IN, *os.environ.get("STAND_IN_ARGUMENTS", "").split())
    vars(child)["ChildEngine"] = lambda: ChildEngine(command)
    os._exit(program.main())
