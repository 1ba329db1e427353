"""How the metrics that agents write into their logs reach CloudWatch.

The CloudWatch add-on's Fluent Bit sends every log, but lays what a container wrote inside an object
of its own, where CloudWatch does not look for metrics. So the lines of the agents that hold some
are sent a second time, as they are.
"""

from __future__ import annotations

from ..contract.template import AGENT_CONTAINER
from .runtime_cluster import RUNTIME_NAMESPACE

METRICS_LOG_FILE = "stable-diffusion-metrics.conf"
METRICS_LOG = f"""\
[INPUT]
  Name               tail
  Tag                stable-diffusion.metrics
  Path               /var/log/containers/*_{RUNTIME_NAMESPACE}_{AGENT_CONTAINER}-*.log
  multiline.parser   docker, cri
  DB                 /var/fluent-bit/state/flb_stable_diffusion_metrics.db
  Mem_Buf_Limit      5MB
  Skip_Long_Lines    On
  Refresh_Interval   10
  Read_from_Head     On

[FILTER]
  Name               grep
  Match              stable-diffusion.metrics
  Regex              log CloudWatchMetrics

[OUTPUT]
  Name               cloudwatch_logs
  Match              stable-diffusion.metrics
  region             ${{AWS_REGION}}
  log_group_name     /aws/containerinsights/${{CLUSTER_NAME}}/stable-diffusion-metrics
  log_stream_prefix  ${{HOST_NAME}}-
  auto_create_group  true
  log_key            log
  log_format         json/emf
"""
"""A file of Fluent Bit's that the add-on includes beside its own."""
