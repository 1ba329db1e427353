"""The environment variables by which the constructs configure what runs.

Writer and reader share these classes, so that a variable cannot be misspelt on one side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, TypeVar

from .engines import DIFFUSERS, ENGINES, is_engine_url
from .finishing import (
    HOOK_SAYS,
    MODELS_OWN,
    TEXT_MARK,
    TEXT_SAYS,
    is_safety_checker,
    is_watermark,
)
from .lanes import MOST_LANES
from .limits import MAX_INPUT_BYTES, MAX_INPUT_PIXELS
from .names import is_host_name, is_model_name, is_runtime_name
from .routing import DYNAMIC, RUNTIME_CLASSES, STATIC, RouteTable

MOST_RETURNS = 10
"""How often a task may be given back through no fault of its own without that costing a try.

The queue's own limit must leave room for it, since it counts every receiving.
"""

MOST_BATCH_TASKS = 16
"""Most tasks that may share a forward pass: beyond it, each waits for all and little is gained."""

MOST_STEAL_AFTER_MILLISECONDS = 60_000
"""Longest that a task may be made to wait for its lane's home, which may be gone."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SERVICE = re.compile(rf"{_LABEL}/{_LABEL}")

_Settings = TypeVar("_Settings", bound="_Environment")


@dataclass(frozen=True)
class _Environment:
    """Settings that travel as environment variables: field ``queue_url`` as ``SD_QUEUE_URL``.

    A field with a default may be missing, and is not written while it has its default.
    """

    def to_environment(self) -> dict[str, str]:
        """Return the variables. Values may hold unresolved CDK tokens."""
        return {
            variable_name(field.name): _written(getattr(self, field.name))
            for field in fields(self)
            if _is_required(field) or getattr(self, field.name) != field.default
        }

    @classmethod
    def from_environment(cls: type[_Settings], environment: Mapping[str, str]) -> _Settings:
        """Read the settings.

        Args:
            environment: The variables, such as ``os.environ``.

        Raises:
            ValueError: Naming every variable that is missing or wrong.
        """
        values: dict[str, Any] = {}
        faults = []
        for field in fields(cls):
            variable = variable_name(field.name)
            text = environment.get(variable, "")
            if not text:
                if _is_required(field):
                    faults.append(f"{variable} is missing")
                continue
            try:
                values[field.name] = _read(str(field.type), text)
            except ValueError as error:
                faults.append(f"{variable} {error}, is {text[:64]!r}")
        if not faults:
            settings = cls(**values)
            faults = settings._faults()
            if not faults:
                return settings
        raise ValueError(f"wrong environment: {'; '.join(faults)}")

    def _faults(self) -> list[str]:
        return []


@dataclass(frozen=True)
class HandlerEnvironment(_Environment):
    """Settings of the API's Lambda function.

    Attributes:
        request_topic_arn: Topic for accepted tasks.
        output_bucket: Bucket for pictures, to name their location.
        model_bucket: Bucket of the models, to refuse a model that is not there.
        routes: `RouteTable` as JSON.
    """

    request_topic_arn: str
    output_bucket: str
    model_bucket: str
    routes: str

    def _faults(self) -> list[str]:
        try:
            RouteTable.from_json(self.routes)
        except ValueError as error:
            return [f"{variable_name('routes')} {error}"]
        return []


@dataclass(frozen=True)
class AgentEnvironment(_Environment):
    """Settings of a queue agent.

    Attributes:
        queue_url: Queue that it takes tasks from.
        dead_letter_queue_url: Queue for what cannot be a task.
        result_topic_arn: Topic for results.
        output_bucket: Bucket for pictures.
        model_bucket: Bucket of the models.
        runtime_name: Name of its runtime.
        runtime_class: "static" or "dynamic".
        models: Models to load before the first task (static), as a JSON list in the variable.
        lease_seconds: How long a task stays hidden from others after the agent's last heartbeat.
        task_timeout_seconds: Longest a task may generate.
        drain_seconds: Longest to go on after SIGTERM.
        max_receive_count: How often a task is tried before it goes to the dead-letter queue.
        model_cache_directory: Folder for downloaded models.
        model_cache_bytes: Most bytes in that folder.
        health_port: Port of the health probes on all addresses; 0 for none.
        image_models_directory: Folder of the models that the container's image carries. The image
            itself sets it, since only the image knows; empty for none.
        prefetch_tasks: Most tasks to hold that have not begun while the GPU works; 0 for none.
            Where tasks share a forward pass, as many as one may have, if that is more; of several
            lanes, what would begin while a model loads, if that is more.
        prefetch_bytes: Most bytes of messages to hold so.
        input_buckets: Buckets that input images may come from, besides the output bucket: each by
            its name, with a slash and a prefix behind it where only a part of it may be read.
        input_hosts: HTTPS hosts that input images may come from, each by its exact name.
        max_input_bytes: Most bytes of an input image.
        max_input_pixels: Most pixels of an input image.
        engine: What makes the pictures; one of `contract.engines.ENGINES`.
        engine_url: Where an engine in another container listens.
        engine_directory: Directory that is shared with such an engine.
        batch_tasks: Most tasks that share a forward pass; 1 for each alone.
        safety_checker: What checks each picture: "model", or a function as module:function; empty
            for nothing.
        watermark: What marks each picture: "text=" and a text, or a function as module:function;
            empty for nothing.
        lane_queue_urls: Queues of all lanes in their order, the first of which is `queue_url`;
            empty for a runtime with one queue.
        overflow_queue_url: Queue to which the home of a lane passes on what another replica would
            begin sooner, and of which any idle one takes; set exactly where `lane_queue_urls` is.
        replica_name: Name of this agent among those of its runtime; empty for the host's name,
            which in a cluster is the pod's.
        members_directory: Folder in which the agents of a runtime on one machine find each other.
        members_service: Where they find each other in a cluster: namespace and name, with a slash
            between, of the headless Service whose EndpointSlices name the pods that are ready.
        steal_after_milliseconds: How long a task waits for its lane's home before any agent may
            take it.
        memory_cache_bytes: Most bytes of models to keep in the host's memory besides those on the
            GPU; 0 for none.
    """

    queue_url: str
    dead_letter_queue_url: str
    result_topic_arn: str
    output_bucket: str
    model_bucket: str
    runtime_name: str
    runtime_class: str
    models: tuple[str, ...]
    lease_seconds: int
    task_timeout_seconds: int
    drain_seconds: int
    max_receive_count: int
    model_cache_directory: str
    model_cache_bytes: int
    health_port: int
    image_models_directory: str = ""
    prefetch_tasks: int = 2
    prefetch_bytes: int = 64 * 2**20
    input_buckets: tuple[str, ...] = ()
    input_hosts: tuple[str, ...] = ()
    max_input_bytes: int = MAX_INPUT_BYTES
    max_input_pixels: int = MAX_INPUT_PIXELS
    engine: str = DIFFUSERS
    engine_url: str = ""
    engine_directory: str = ""
    batch_tasks: int = 1
    safety_checker: str = ""
    watermark: str = ""
    lane_queue_urls: tuple[str, ...] = ()
    overflow_queue_url: str = ""
    replica_name: str = ""
    members_directory: str = ""
    members_service: str = ""
    steal_after_milliseconds: int = 500
    memory_cache_bytes: int = 0

    def _faults(self) -> list[str]:
        checks = (
            (is_runtime_name(self.runtime_name), "runtime_name", "must be a runtime name"),
            (
                self.runtime_class in RUNTIME_CLASSES,
                "runtime_class",
                f"must be one of {', '.join(RUNTIME_CLASSES)}",
            ),
            (all(map(is_model_name, self.models)), "models", "must hold model names"),
            (
                bool(self.models) == (self.runtime_class == STATIC),
                "models",
                "must name models in a static runtime and none in a dynamic one",
            ),
            (5 <= self.lease_seconds <= 43_200, "lease_seconds", "must be 5 to 43200"),
            (self.task_timeout_seconds >= 1, "task_timeout_seconds", "must be at least 1"),
            (self.drain_seconds >= 0, "drain_seconds", "must be at least 0"),
            (self.max_receive_count >= 1, "max_receive_count", "must be at least 1"),
            (self.model_cache_bytes >= 1, "model_cache_bytes", "must be at least 1"),
            (0 <= self.prefetch_tasks <= 8, "prefetch_tasks", "must be 0 to 8"),
            (self.prefetch_bytes >= 1, "prefetch_bytes", "must be at least 1"),
            (0 <= self.health_port <= 65_535, "health_port", "must be 0 to 65535"),
            (
                all(map(is_host_name, self.input_hosts)),
                "input_hosts",
                "must hold full DNS names in lower case, without port or wildcard",
            ),
            (self.max_input_bytes >= 1, "max_input_bytes", "must be at least 1"),
            (self.max_input_pixels >= 1, "max_input_pixels", "must be at least 1"),
            (
                1 <= self.batch_tasks <= MOST_BATCH_TASKS,
                "batch_tasks",
                f"must be 1 to {MOST_BATCH_TASKS}",
            ),
            (self.engine in ENGINES, "engine", f"must be one of {', '.join(ENGINES)}"),
            (
                self.engine == DIFFUSERS or is_engine_url(self.engine_url),
                "engine_url",
                "must be http://127.0.0.1:PORT of the engine",
            ),
            (
                self.engine == DIFFUSERS or bool(self.engine_directory),
                "engine_directory",
                "must name the directory that is shared with the engine",
            ),
            (
                not self.safety_checker or is_safety_checker(self.safety_checker),
                "safety_checker",
                f"must be {MODELS_OWN} or {HOOK_SAYS}",
            ),
            (
                not self.watermark or is_watermark(self.watermark),
                "watermark",
                f"must be {TEXT_MARK} with {TEXT_SAYS}, or {HOOK_SAYS}",
            ),
            (
                self.engine == DIFFUSERS or not (self.safety_checker or self.watermark),
                "engine",
                f"must be {DIFFUSERS} where {variable_name('safety_checker')} or "
                f"{variable_name('watermark')} is set: no other checks or marks pictures",
            ),
            (
                not self.lane_queue_urls
                or (
                    self.runtime_class == DYNAMIC
                    and 2 <= len(self.lane_queue_urls) <= MOST_LANES
                    and self.lane_queue_urls[0] == self.queue_url
                ),
                "lane_queue_urls",
                f"must be, in a dynamic runtime only, 2 to {MOST_LANES} queues of which the first "
                f"is {variable_name('queue_url')}",
            ),
            (
                bool(self.overflow_queue_url) == bool(self.lane_queue_urls)
                and self.overflow_queue_url not in self.lane_queue_urls,
                "overflow_queue_url",
                f"must be given with {variable_name('lane_queue_urls')}, and only then, and be "
                "none of them",
            ),
            (
                not self.members_service or _SERVICE.fullmatch(self.members_service) is not None,
                "members_service",
                "must be the namespace and the name of a Service, with a slash between",
            ),
            (
                not (self.members_service and self.members_directory),
                "members_directory",
                f"must be empty where {variable_name('members_service')} is set",
            ),
            (
                0 <= self.steal_after_milliseconds <= MOST_STEAL_AFTER_MILLISECONDS,
                "steal_after_milliseconds",
                f"must be 0 to {MOST_STEAL_AFTER_MILLISECONDS}",
            ),
            (self.memory_cache_bytes >= 0, "memory_cache_bytes", "must be at least 0"),
        )
        return [f"{variable_name(name)} {says}" for good, name, says in checks if not good]


def variable_name(field: str) -> str:
    """Return the environment variable of a setting."""
    return "SD_" + field.upper()


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING


def _written(value: Any) -> str:
    return json.dumps(list(value)) if isinstance(value, tuple) else str(value)


def _read(kind: str, text: str) -> Any:
    if kind == "int":
        try:
            return int(text)
        except ValueError:
            raise ValueError("must be a whole number") from None
    if kind.startswith("tuple"):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError("must be a JSON list of strings")
        return tuple(value)
    return text
