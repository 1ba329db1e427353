"""What every test needs before it imports the AWS CDK."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The built-in linter costs seconds a process; tests/unit/test_strict.py runs it once.
os.environ.setdefault("CDK_VALIDATION", "false")

# jsii takes the first node on PATH: the environment's own, also when it is not activated.
_HERE = str(Path(sys.executable).parent)
if _HERE not in os.environ["PATH"].split(os.pathsep):
    os.environ["PATH"] = _HERE + os.pathsep + os.environ["PATH"]
