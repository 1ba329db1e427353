"""The wire: what crosses between client, API, agent and backend.

Standard library only, so that a client, a Lambda function or an agent can import it at no cost.
"""

from __future__ import annotations

from .accepted import TaskAccepted
from .assets import Adapter
from .environment import AgentEnvironment, HandlerEnvironment
from .fault import Fault, InvalidDocument, InvalidMessage, InvalidTask
from .identity import derive_seed, image_seed, new_task_id
from .message import TaskMessage
from .model import GenerationDefaults, InvalidModel, ModelFile, ModelManifest
from .problem import PROBLEM_CONTENT_TYPE, problem
from .progress import TaskProgress
from .reference import TaskReference
from .result import ImageOutput, Parameters, ResultMessage, TaskError, Timings
from .routing import Route, RouteTable
from .task import OUTPUT_FORMATS, SCHEDULERS, TaskRequest
from .task_type import TASK_TYPES
from .times import parse_timestamp, timestamp
from .version import CONTRACT_VERSION

__all__ = [
    "CONTRACT_VERSION",
    "OUTPUT_FORMATS",
    "PROBLEM_CONTENT_TYPE",
    "SCHEDULERS",
    "TASK_TYPES",
    "Adapter",
    "AgentEnvironment",
    "Fault",
    "GenerationDefaults",
    "HandlerEnvironment",
    "ImageOutput",
    "InvalidDocument",
    "InvalidMessage",
    "InvalidModel",
    "InvalidTask",
    "ModelFile",
    "ModelManifest",
    "Parameters",
    "ResultMessage",
    "Route",
    "RouteTable",
    "TaskAccepted",
    "TaskError",
    "TaskMessage",
    "TaskProgress",
    "TaskReference",
    "TaskRequest",
    "Timings",
    "derive_seed",
    "image_seed",
    "new_task_id",
    "parse_timestamp",
    "problem",
    "timestamp",
]
