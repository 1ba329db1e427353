"""A plain loop of the agent's calls, one after the other, as a queue worker is often written.

Receive, look for a result, GPU, encode, store the picture, store the result, publish, delete.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from benchmarks.stand_in_engine import picture, run_gpu
from cdk_stable_diffusion.contract import (
    AgentEnvironment,
    ImageOutput,
    Parameters,
    ResultMessage,
    TaskMessage,
)
from cdk_stable_diffusion.runtime_image.agent.announcements import Announcements
from cdk_stable_diffusion.runtime_image.agent.aws import make_clients
from cdk_stable_diffusion.runtime_image.agent.engine import Drawing, Raster
from cdk_stable_diffusion.runtime_image.agent.outputs import Outputs
from cdk_stable_diffusion.runtime_image.agent.pictures import encode
from cdk_stable_diffusion.runtime_image.agent.task_queue import TaskQueue
from cdk_stable_diffusion.runtime_image.agent.work import Work


def main() -> None:
    """Work until the queue is empty."""
    seconds, size, trace = float(sys.argv[1]), tuple(map(int, sys.argv[2].split("x"))), sys.argv[3]
    environment = AgentEnvironment.from_environment(os.environ)
    clients = make_clients(environment.result_topic_arn)
    queue = TaskQueue(
        clients.sqs,
        queue_urls=(environment.queue_url,),
        dead_letter_queue_url=environment.dead_letter_queue_url,
        lease_seconds=environment.lease_seconds,
    )
    outputs = Outputs(clients.s3, environment.output_bucket)
    topic = Announcements(clients.sns, environment.result_topic_arn)
    width, height = size
    raster = Raster(width=width, height=height, pixels=picture(width, height), seed=1)
    parameters = Parameters(width=width, height=height, steps=20, guidance_scale=1.0, seed=1)
    drawing = Drawing(pictures=(raster,), parameters=parameters, software={})
    left = int(sys.argv[4])
    with open(trace, "a", buffering=1) as lines:
        while left:
            message: Any = queue.receive(clients.waiting_sqs)
            if message is None:
                continue
            left -= 1
            work = Work(message, TaskMessage.from_json(message.body))
            outputs.find_result(work.task)
            begin, end = run_gpu(seconds)
            lines.write(f"{begin} {end}\n")
            file = encode(work.task, drawing, raster, "0" * 64)
            key, _ = outputs.put_picture(work.task, 0, file.data, file.content_type)
            image = ImageOutput(
                environment.output_bucket, key, file.content_type, width, height,
                len(file.data), "0" * 64, 1,
            )  # fmt: skip
            result = ResultMessage(
                work.task.task_id, "succeeded", "shapes", environment.runtime_name, "dynamic",
                "text-to-image", work.timings(), images=(image,), parameters=parameters,
            )  # fmt: skip
            outputs.put_result(work.task, result, replace_failure=False)
            topic.publish(result)
            queue.delete(message)


if __name__ == "__main__":
    main()
