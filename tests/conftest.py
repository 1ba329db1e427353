"""What every test needs before it imports the AWS CDK."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# The built-in linter costs seconds a process; tests/unit/test_strict.py runs it once.
os.environ.setdefault("CDK_VALIDATION", "false")

# No test depends on a time: on a busy machine an example takes longer than on an idle one.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")

# jsii takes the first node on PATH: the environment's own, also when it is not activated.
_HERE = str(Path(sys.executable).parent)
if _HERE not in os.environ["PATH"].split(os.pathsep):
    os.environ["PATH"] = _HERE + os.pathsep + os.environ["PATH"]


# One has a running service, the other the libraries for drawing, which take seconds to import.
_SHARED = ("tests/end_to_end/", "tests/engine/")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Keep tests together that share what takes seconds to set up, and all others by file."""
    return _Scheduling(config, log)


class _Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """Tests of one scope run in one process, one after the other, in the order of the folders."""

    def _split_scope(self, nodeid: str) -> str:
        for shared in _SHARED:
            if nodeid.startswith(shared):
                return shared
        return str(super()._split_scope(nodeid))
