"""The whole service on this machine: emulated AWS, the app's own template, agents as processes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ..contract import AgentEnvironment, InvalidModel
from ..contract import template as marks
from .agents import Agent, AgentSupervisor
from .aws import USER_VARIABLES, AwsAccess
from .deployment import Deployment, deploy
from .emulator import Emulator
from .errors import LocalError
from .installation import check_installation
from .publishing import model_directories, publish_model
from .result_queue import default_queue, filtered_queues
from .runtimes import Runtime, check_engines, find_runtimes
from .synthesis import Synthesis, find_app

DRAIN_SECONDS = 2


class LocalService:
    """A CDK app's service, up as long as the `with` block.

    Example:
        >>> with LocalService() as service:  # doctest: +SKIP
        ...     print(service.details["endpoint"])
    """

    def __init__(
        self,
        *,
        app: Path | None = None,
        port: int = 0,
        workers: int = 1,
        models: Mapping[str, Path] | None = None,
        agent_environment: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare a service.

        Args:
            app: Directory with a `cdk.json`, or Python file, of an app that uses the library.
                Default: the quickstart.
            port: Port on 127.0.0.1. Default: 0, a free one.
            workers: Agents per runtime. Default: 1.
            models: Directories of models by name, beside the shipped ones. Default: none.
            agent_environment: Variables that replace those of the app for every agent. Default:
                none.
            say: Told what is going on, for people. Default: standard error.
            check: Called every now and then while the service comes up; what it raises ends that.
                Default: nothing is called.
        """
        self._app = app
        self._workers = workers
        self._models = models or {}
        self._agent_environment = agent_environment or {}
        self._say = say
        self._check = check
        self._emulator = Emulator(port=port)
        self._supervisor = AgentSupervisor(say=say)
        self._exit = ExitStack()
        self._keep_logs = False
        self.directory = Path()
        self.runtimes: list[Runtime] = []
        self.details: dict[str, Any] = {}

    @property
    def access(self) -> AwsAccess:
        """Where the emulated AWS is."""
        return self._emulator.access

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The agents."""
        return self._supervisor.agents

    @property
    def log_directory(self) -> Path:
        """Where the agents' logs are; they stay if something failed."""
        return self.directory / "logs"

    def keep_logs(self) -> None:
        """Leave the agents' logs when the service ends, whatever the agents did."""
        self._keep_logs = True

    def __enter__(self) -> LocalService:
        """Bring everything up.

        Raises:
            LocalError: If something fails; nothing is left running then.
        """
        try:
            self._up()
        except BaseException as error:
            self._end(error)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every child and stop listening."""
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt):
            self.keep_logs()
        self._exit.close()

    def _up(self) -> None:
        check_installation()
        app = find_app(self._app)
        self._emulator.check_port()
        self.directory = Path(tempfile.mkdtemp(prefix="sd-local-"))
        self.log_directory.mkdir()
        self._exit.callback(self._clear)
        assembly = self.directory / "cdk.out"
        self._say(f"synthesising {app.path}")
        with Synthesis(app, assembly) as synthesis:
            self._exit.enter_context(self._emulator)
            synthesis.wait(self._check)
        self._say(f"deploying to {self.access.endpoint_url}")
        deployment = deploy(assembly, self.access, say=self._say, check=self._check)
        self.runtimes = find_runtimes(deployment.manifests)
        check_engines(self.runtimes, self._agent_environment, workers=self._workers)
        self._check()
        self._publish_models()
        self._check()
        self._start_agents()
        self.details = self._describe(deployment)

    def _publish_models(self) -> None:
        wanted = [model for each in self.runtimes for model in each.settings.models]
        directories = model_directories(wanted, self._models)
        s3 = self.access.client("s3")
        existing = {each["Name"] for each in s3.list_buckets()["Buckets"]}
        settings = [each.settings for each in self.runtimes]
        buckets = sorted({each.model_bucket for each in settings})
        for bucket in {*buckets, *(each.output_bucket for each in settings)} - existing:
            s3.create_bucket(Bucket=bucket)  # One that the app brings along.
        for bucket in buckets:
            for name, directory in directories.items():
                try:
                    publish_model(directory, bucket, s3, name=name)
                except InvalidModel as error:
                    raise LocalError(f"model {name}: {error}") from None
        self._say(f"models: {', '.join(directories)}")

    def _start_agents(self) -> None:
        self._exit.callback(self._supervisor.stop)
        count = self._workers * len(self.runtimes)
        self._supervisor.start(
            tuple(
                Agent(
                    f"{runtime.name}-{number}",
                    runtime.name,
                    self._environment(runtime, number, count),
                    self.log_directory / f"{runtime.name}-{number}.log",
                )
                for runtime in self.runtimes
                for number in range(1, self._workers + 1)
            )
        )
        self._say(f"{count} agents, logs in {self.log_directory}")

    def _environment(self, runtime: Runtime, number: int, count: int) -> dict[str, str]:
        name = f"{runtime.name}-{number}"
        cache = self.directory / "models" / name
        cache.mkdir(parents=True)
        members = self.directory / "members" / runtime.name
        members.mkdir(parents=True, exist_ok=True)
        settings = replace(
            runtime.settings,
            model_cache_directory=str(cache),
            replica_name=name,
            # There is no cluster here that would say which agents there are.
            members_service="",
            members_directory=str(members),
            # Its probes would listen on all addresses of the machine.
            health_port=0,
            # Whoever presses Ctrl-C does not want to wait for minutes.
            drain_seconds=DRAIN_SECONDS,
        )
        told = {**settings.to_environment(), **self._agent_environment}
        try:
            AgentEnvironment.from_environment(told)
        except ValueError as error:
            raise LocalError(f"agents of {runtime.name}: {error}") from None
        environment = {
            # Agents share the cores; more threads than cores slow all of them down.
            "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count)),
            **os.environ,
            **self.access.environment(),
            "PYTHONUNBUFFERED": "1",
            **told,
        }
        for name in USER_VARIABLES:
            environment.pop(name, None)
        return environment

    def _describe(self, deployment: Deployment) -> dict[str, Any]:
        apis, stages, keys = (
            deployment.physical_ids(mark) for mark in (marks.REST_API, marks.STAGE, marks.API_KEY)
        )
        if not (apis and stages and keys):
            raise LocalError("the app has no SdApi: there is no route to send tasks to")
        key = self.access.client("apigateway").get_api_key(apiKey=keys[0], includeValue=True)
        queues = filtered_queues(deployment.physical_ids(marks.RESULT_QUEUE), self.access)
        default = default_queue(queues)
        settings = self.runtimes[0].settings
        return {
            "endpoint": f"{self.access.endpoint_url}/_aws/execute-api/{apis[0]}/{stages[0]}",
            "api_key": key["value"],
            "aws_endpoint_url": self.access.endpoint_url,
            "region": self.access.region,
            "result_queue_url": default.url if default is not None else None,
            "result_queues": [each.to_dict() for each in queues],
            "output_bucket": settings.output_bucket,
            "model_bucket": settings.model_bucket,
            "runtimes": [each.to_dict() for each in self.runtimes],
        }

    def _clear(self) -> None:
        """Remove what only the running service needed; the logs stay if something failed."""
        failed = self._keep_logs or any(each.ended_unexpectedly for each in self.agents)
        if not (failed and any(self.log_directory.iterdir())):
            shutil.rmtree(self.directory, ignore_errors=True)
            return
        for each in self.directory.iterdir():
            if each != self.log_directory:
                shutil.rmtree(each, ignore_errors=True)
        self._say(f"the agents' logs are left in {self.log_directory}")
