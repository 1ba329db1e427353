"""The agent's real process, with a stand-in for its engine.

Arguments: the stand-in's module, and the stand-in's own arguments.
"""

from __future__ import annotations

import os
import sys

from cdk_stable_diffusion.runtime_image.agent import __main__ as program
from cdk_stable_diffusion.runtime_image.agent import child
from cdk_stable_diffusion.runtime_image.agent.child import ChildEngine

if __name__ == "__main__":
    command = (sys.executable, "-m", *sys.argv[1:])
    vars(child)["ChildEngine"] = lambda: ChildEngine(command)
    os._exit(program.main())
