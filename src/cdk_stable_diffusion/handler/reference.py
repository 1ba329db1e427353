"""From the path and query of a request to the task that it means, and back."""

from __future__ import annotations

import re

from ..contract.accepted import TaskAccepted
from ..contract.fault import Fault, InvalidTask
from ..contract.fields import pointer
from ..contract.reference import TASKS_PATH, TaskReference
from .refusal import Refusal
from .web import Request

_OWN_PATH = re.compile(rf"((?:/[A-Za-z0-9._~-]+)*?){re.escape(TASKS_PATH)}/?")


def read_reference(request: Request) -> TaskReference:
    """Read and check which task a request means.

    Args:
        request: The request.

    Raises:
        Refusal: 400 with every fault.
    """
    query = {name: values[-1] for name, values in request.query.items()}
    faults = [
        Fault(pointer(name), f"is given {len(values)} times")
        for name, values in request.query.items()
        if len(values) > 1
    ]
    try:
        reference = TaskReference.parse({**query, "task_id": request.path.get("task_id")})
    except InvalidTask as invalid:
        faults += invalid.faults
    if "task_id" in query:
        faults.append(Fault("/task_id", "belongs in the path, not in the query"))
    if faults:
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise Refusal(400, f"The request has {count}.", faults)
    return reference


def location(request: Request, task: TaskAccepted) -> str:
    """Return the header `Location` for a task, as a path on the host that was asked.

    Args:
        request: The request that brought the task.
        task: The task.
    """
    # With a stage, or a base path of a custom domain name, in front.
    own = _OWN_PATH.fullmatch(request.own_path)
    return (own[1] if own else "") + task.task_path
