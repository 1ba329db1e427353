"""Putting a checked task on its way, or saying why not."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from ..contract.accepted import TaskAccepted
from ..contract.fault import Fault
from ..contract.identity import new_task_id
from ..contract.keys import task_prefix
from ..contract.message import TaskMessage
from ..contract.reference import TaskReference
from ..contract.routing import DYNAMIC, Route, RouteTable
from ..contract.task import IMAGE_FIELDS, TaskRequest
from ..contract.times import timestamp
from .catalogue import Catalogue, CatalogueUnavailable, near_names
from .refusal import Refusal, faulty

RETRY_AFTER_SECONDS = 5

LOOK_UP_SECONDS = 2.0
"""After this long no further name is looked up: what is left of the function's time is for sending.

The agent is the next to know what is not there, and says so in the result.
"""
_AUTHORITY = re.compile(r"https://([^/?#]*)")

_log = logging.getLogger(__name__)


class PublishFailed(Exception):
    """The task is not on its way, or nobody knows whether it is."""


class MessageTooLarge(Exception):
    """The task has no room in one message."""


class Publisher(Protocol):
    """The request topic."""

    def publish(self, message: TaskMessage, lane: int | None) -> None:
        """Put a task on the topic.

        Args:
            message: The task.
            lane: Its lane, or None where its runtime has a single queue.

        Raises:
            MessageTooLarge: If it has no room.
            PublishFailed: If it is not certain that it is on its way.
        """


class Submission:
    """Takes tasks for the runtimes of one API."""

    def __init__(
        self,
        *,
        routes: RouteTable,
        output_bucket: str,
        publisher: Publisher,
        catalogue: Catalogue,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what it works with.

        Args:
            routes: The runtimes.
            output_bucket: Bucket in which pictures will be.
            publisher: The request topic.
            catalogue: The models in the model bucket, and what is added to them.
            clock: Seconds. Default: the time since some moment.
        """
        self._routes = routes
        self._output_bucket = output_bucket
        self._publisher = publisher
        self._catalogue = catalogue
        self._clock = clock

    def submit(
        self, request: TaskRequest, *, caller: str, traceparent: str | None = None
    ) -> TaskAccepted:
        """Put a task on its way.

        Args:
            request: The checked request.
            caller: Who asks.
            traceparent: The trace that it belongs to. Default: none.

        Raises:
            Refusal: 400 if an input image is on a host that the runtime does not ask; 404 if no
                runtime serves the model, or something that is to be added to it is not in the
                model bucket; 413 if the task is too large to send, 503 if it could not
                be sent.
        """
        began = self._clock()
        route = self._route(request.model)
        self._check_hosts(request, route)
        self._check_additions(request, until=began + LOOK_UP_SECONDS)
        message = TaskMessage(
            task_id=new_task_id(request, caller),
            submitted_at=timestamp(),
            runtime=route.runtime,
            runtime_class=route.runtime_class,
            request=request,
            traceparent=traceparent,
        )
        try:
            self._publisher.publish(message, self._routes.lane(request.model, message.task_id))
        except MessageTooLarge:
            raise Refusal(413, "The task is too large to be sent.") from None
        except PublishFailed as error:
            raise Refusal(
                503,
                "The task could not be put on its way. Send it again; with an idempotency_key it "
                "will be the same task.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            ) from error
        reference = TaskReference(message.task_id, request.output_prefix)
        prefix = task_prefix(request.output_prefix, message.task_id)
        return TaskAccepted(
            task_id=message.task_id,
            model=request.model,
            runtime=route.runtime,
            runtime_class=route.runtime_class,
            output_location=f"s3://{self._output_bucket}/{prefix}",
            submitted_at=message.submitted_at,
            task_path=reference.path,
        )

    def _route(self, model: str) -> Route:
        route = self._routes.resolve(model)
        if route is None:
            raise self._not_served(model)
        if route.runtime_class == DYNAMIC and not self._is_there(model):
            raise self._not_served(model)
        return route

    def _check_hosts(self, request: TaskRequest, route: Route) -> None:
        """Refuse at once what the agent would, who has the last word on all input images."""
        faults = []
        for name in IMAGE_FIELDS:
            authority = _AUTHORITY.match(getattr(request, name) or "")
            if authority is None:
                continue
            host = authority[1].lower().removesuffix(":443")
            if not self._routes.allows_host(route.runtime, host):
                says = (
                    f"is on a host or port that the runtime {route.runtime!r} takes no images "
                    "from: they come from hosts that the runtime names, on port 443"
                )
                faults.append(Fault(f"/{name}", says))
        if faults:
            raise faulty(faults)

    def _check_additions(self, request: TaskRequest, *, until: float) -> None:
        """Refuse what is to be added to the model and is not in the bucket."""
        missing = {
            pointer: name
            for pointer, name in _additions(request)
            if self._clock() < until and not self._is_there(name)
        }
        if not missing:
            return
        names = self._names_in_bucket()
        faults = [
            Fault(pointer, f"is {name!r}, which is not in the model bucket{_near(name, names)}")
            for pointer, name in missing.items()
        ]
        listed = ", ".join(map(repr, missing.values()))
        raise Refusal(404, f"The model bucket does not have {listed}.", faults)

    def _is_there(self, name: str) -> bool:
        try:
            return self._catalogue.has(name)
        except CatalogueUnavailable as error:
            # The agent is the next to know, and says so in the result.
            _log.warning("accepting a task with a name that could not be looked up: %s", error)
            return True

    def _not_served(self, model: str) -> Refusal:
        names = set(self._routes.static)
        if self._routes.dynamic is not None:
            names |= self._names_in_bucket()
        says = f"is {model!r}, which no runtime serves{_near(model, names)}"
        return Refusal(404, f"No runtime serves the model {model!r}.", [Fault("/model", says)])

    def _names_in_bucket(self) -> set[str]:
        try:
            return set(self._catalogue.names())
        except CatalogueUnavailable as error:
            _log.warning("models could not be listed: %s", error)
            return set()


def _additions(request: TaskRequest) -> Iterator[tuple[str, str]]:
    """Return what a request adds to its model: pointer and name of each."""
    for index, adapter in enumerate(request.adapters):
        yield f"/adapters/{index}/name", adapter.name
    for index, name in enumerate(request.embeddings):
        yield f"/embeddings/{index}", name
    if request.vae is not None:
        yield "/vae", request.vae


def _near(name: str, names: set[str]) -> str:
    near = near_names(name, names)
    return f"; near it are {', '.join(near)}" if near else ""
