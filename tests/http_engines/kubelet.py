"""What the kubelet does for an engine's container: restart it when its liveness probe fails."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from cdk_stable_diffusion.contract.engines import REPLACE_NAME
from tests.http_engines.http_server import Server


class Kubelet:
    """Looks for the mark as the probe does."""

    def __init__(self, server: Server, models: Path, *, down_seconds: float = 0.7) -> None:
        self.restarts = 0
        self._server = server
        self._mark = models / REPLACE_NAME
        self._down_seconds = down_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            if self._mark.exists():
                self._server.stop()
                self._ended.wait(self._down_seconds)
                self.restarts += 1
                self._server.start()
                while self._mark.exists() and not self._ended.wait(0.05):
                    pass

    def wait_for_restart(self) -> None:
        """Wait until it has restarted the engine."""
        deadline = time.monotonic() + 10
        while self.restarts == 0:
            assert time.monotonic() < deadline, "the engine was not replaced"
            time.sleep(0.02)

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join(5)
