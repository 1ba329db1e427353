"""What an engine leaves behind, in a process that is heir to it as process 1 of a container is."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HEIR = """
import ctypes, os, signal, subprocess, sys, time
from cdk_stable_diffusion.runtime_image.agent.child import ChildEngine

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1) == 0

# An engine that starts a process, which ends the moment after it.
ENGINE = '''
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
sys.stdin = open(int(sys.argv[1]))
sys.stdin.read()
'''

def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(each) for each in file.read().split()]

def state(process):
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]

def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

engine = ChildEngine([sys.executable, "-c", ENGINE])
seen = set()
for _ in range(3):
    engine.start()
    child = engine.process_id
    path = f"/proc/{child}/task/{child}/children"
    until(lambda: open(path).read().strip())
    seen.add(int(open(path).read()))
    os.kill(child, signal.SIGKILL)
    until(lambda: not engine.health().running)
    until(lambda: all(state(each) == "Z" for each in children() if each in seen))
    until(lambda: len(seen & set(children())) > 0)
engine.start()
assert len(seen) == 3
assert children() == [engine.process_id], children()
engine.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has heirs other than process 1")
def test_what_an_engine_leaves_behind_does_not_pile_up() -> None:
    heir = subprocess.run(
        [sys.executable, "-c", _HEIR], capture_output=True, text=True, timeout=60, check=False
    )
    assert heir.returncode == 0, heir.stderr
