"""The agent's real process, with the stand-in for its engine."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

from cdk_stable_diffusion.runtime_image.agent import __main__ as program
from cdk_stable_diffusion.runtime_image.agent import child, watch
from cdk_stable_diffusion.runtime_image.agent.child import ChildEngine

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in_engine.py")))

if __name__ == "__main__":
    command = (*STAND_IN, *os.environ.get("STAND_IN_ARGUMENTS", "").split())
    vars(child)["ChildEngine"] = lambda: ChildEngine(command)
    # Tests need not wait as long as a client does.
    if "LOOK_SECONDS" in os.environ:
        vars(watch)["LOOK_SECONDS"] = float(os.environ["LOOK_SECONDS"])
    if "REPORT_SECONDS" in os.environ:
        vars(watch)["REPORT_EVERY"] = timedelta(seconds=float(os.environ["REPORT_SECONDS"]))
    os._exit(program.main())
