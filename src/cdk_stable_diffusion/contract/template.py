"""Marks in a synthesised template by which the local service finds the parts it must know."""

from __future__ import annotations

METADATA_KEY = "cdk-stable-diffusion"
"""Key in a resource's CloudFormation Metadata; its value is one of the marks below."""

REST_API = "rest-api"
STAGE = "stage"
API_KEY = "api-key"
HANDLER = "handler"
REQUEST_TOPIC = "request-topic"
RESULT_TOPIC = "result-topic"
OUTPUT_BUCKET = "output-bucket"
MODEL_BUCKET = "model-bucket"
RESULT_QUEUE = "result-queue"
TASK_QUEUE = "task-queue"
TASK_DEAD_LETTER_QUEUE = "task-dead-letter-queue"

APP_LABEL = "app.kubernetes.io/name"
APP_LABEL_VALUE = "cdk-stable-diffusion"
COMPONENT_LABEL = "app.kubernetes.io/component"
AGENT_COMPONENT = "agent"
RUNTIME_LABEL = "sd.runtime/name"
AGENT_CONTAINER = "agent"
