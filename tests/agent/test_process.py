"""The agent's real process: signals, kills, and what is left of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.agent.processes import PYTHON_PATH, Run, begun, log, ready
from tests.agent.scene import MODEL, Scene, wait_until

# Far less than what an agent here could wait for in vain, with room for a busy machine.
_AT_ONCE_SECONDS = 6


def _engine_of(process: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (child,) = map(int, children)
    return child


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ask(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _running(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_wrong_environment_ends_with_2_and_names_every_fault() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SD_")}
    ended = subprocess.run(
        [sys.executable, "-m", "cdk_stable_diffusion.runtime_image.agent"],
        env={**environment, "PYTHONPATH": PYTHON_PATH, "SD_LEASE_SECONDS": "soon"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "SD_QUEUE_URL is missing" in ended.stderr
    assert "SD_LEASE_SECONDS must be a whole number" in ended.stderr


def test_sigterm_while_idle_ends_at_once_and_takes_nothing(scene: Scene, run: Run) -> None:
    agent = run(drain_seconds=60)
    wait_until(ready(scene), "the agent is ready")
    engine = _engine_of(agent)
    began = time.monotonic()
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(10) == 0
    assert time.monotonic() - began < _AT_ONCE_SECONDS
    scene.send()
    assert scene.left() == (1, 0)
    assert not _running(engine)


def test_sigterm_in_a_task_finishes_it_and_takes_no_other(scene: Scene, run: Run) -> None:
    agent = run()
    # Longer than a busy machine can keep the signal from it.
    scene.send(prompt="sleep 4")
    wait_until(begun(scene), "the task is begun")
    agent.send_signal(signal.SIGTERM)
    scene.send(prompt="another")
    assert agent.wait(20) == 0
    (result,) = scene.wait_for_results(1)
    assert result.status == "succeeded"
    assert scene.left() == (1, 0)


def test_sigterm_in_a_long_task_gives_it_back_in_time(scene: Scene, run: Run) -> None:
    agent = run(drain_seconds=2)
    scene.send(prompt="sleep 30")
    wait_until(begun(scene), "the task is begun")
    began = time.monotonic()
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(10) == 0
    assert time.monotonic() - began < _AT_ONCE_SECONDS
    assert scene.left() == (1, 0)
    assert not scene.more_results()


@pytest.mark.slow
def test_a_second_signal_makes_it_quicker(scene: Scene, run: Run) -> None:
    agent = run(drain_seconds=60)
    scene.send(prompt="sleep 50")
    wait_until(begun(scene), "the task is begun")
    agent.send_signal(signal.SIGTERM)
    wait_until(lambda: '"stopping"' in log(scene), "it drains")
    agent.send_signal(signal.SIGINT)
    assert agent.wait(6) == 0
    assert scene.left() == (1, 0)


def test_sigkill_ends_the_engine_too(scene: Scene, run: Run) -> None:
    agent = run()
    scene.send(prompt="sleep 20")
    wait_until(begun(scene), "the task is begun")
    engine = _engine_of(agent)
    agent.kill()
    agent.wait()
    wait_until(lambda: not _running(engine), "the engine has ended", seconds=2)


def test_a_hang_past_the_deadline_fails_in_the_end(scene: Scene, run: Run) -> None:
    run(task_timeout_seconds=1, max_receive_count=1)
    scene.send(prompt="hang")
    (result,) = scene.wait_for_results(1)
    assert result.error is not None and result.error.code == "deadline-exceeded"
    assert scene.wait_for_dead_letter()
    scene.send(prompt="next")
    assert scene.wait_for_results(1)[0].status == "succeeded"


def test_the_probes_tell_live_fromready(scene: Scene, run: Run) -> None:
    port = _free_port()

    def ask(path: str) -> int:
        return _ask(port, path)

    # Its static model is not there yet, so it lives without being ready.
    run(health_port=port, runtime_class="static", models=("later",))
    wait_until(lambda: ask("/livez") == 200, "the agent lives")
    assert ask("/readyz") == 503
    assert ask("/") == 404
    scene.publish_model("later")
    wait_until(lambda: ask("/readyz") == 200, "the agent is ready")
    # The GPU being busy changes neither.
    scene.send(prompt="sleep 2", model="later")
    wait_until(begun(scene), "the task is begun")
    assert (ask("/livez"), ask("/readyz")) == (200, 200)
    scene.wait_for_results(1)


def test_the_log_is_json_and_holds_no_prompt(scene: Scene, run: Run) -> None:
    run()
    task = scene.send(prompt="secret wish")
    scene.wait_for_results(1)
    wait_until(lambda: '"succeeded"' in log(scene), "it is logged")
    assert task.task_id in log(scene)
    assert "secret wish" not in log(scene)
    assert all(line.startswith("{") and line.endswith("}") for line in log(scene).splitlines())


def test_the_agent_never_imports_torch() -> None:
    code = (
        "import sys, cdk_stable_diffusion.runtime_image.agent.service\n"
        "bad = {'torch', 'diffusers', 'transformers', 'aws_cdk', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    ended = _run_python(code)
    assert ended.returncode == 0, ended.stderr


def test_sigterm_before_it_is_ready_ends_it_at_once(scene: Scene, run: Run) -> None:
    agent = run(runtime_class="static", models=("never-there",), drain_seconds=60)
    wait_until(lambda: "not ready" in log(scene), "it waits for its model")
    began = time.monotonic()
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(10) == 0
    assert time.monotonic() - began < _AT_ONCE_SECONDS


@pytest.mark.parametrize("runtime_class", ["static", "dynamic"])
@pytest.mark.slow
def test_sigterm_while_the_engine_imports_ends_it_at_once(
    scene: Scene, run: Run, monkeypatch: pytest.MonkeyPatch, runtime_class: str
) -> None:
    monkeypatch.setenv("STAND_IN_ARGUMENTS", "--import-forever")
    models = (MODEL,) if runtime_class == "static" else ()
    port = _free_port()
    agent = run(runtime_class=runtime_class, models=models, drain_seconds=60, health_port=port)
    wait_until(lambda: _ask(port, "/livez") == 200, "the agent lives")
    scene.send()
    began = time.monotonic()
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(10) == 0
    assert time.monotonic() - began < _AT_ONCE_SECONDS
    assert scene.left() == (1, 0)


def test_signals_are_caught_before_the_slow_imports() -> None:
    # Process 1 of a container gets no signal before that.
    code = (
        "import runpy, signal, sys\n"
        "slow = {'cdk_stable_diffusion.contract', 'subprocess', 'boto3'}\n"
        "signal.signal = lambda *_: sys.exit(str(slow & set(sys.modules) or 'none'))\n"
        "runpy.run_module('cdk_stable_diffusion.runtime_image.agent', run_name='__main__')"
    )
    ended = _run_python(code)
    assert ended.stderr == "none\n"


def _run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        capture_output=True,
        text=True,
        check=False,
    )
