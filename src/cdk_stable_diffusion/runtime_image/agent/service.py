"""The agent: its parts put together, run, and taken apart again."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path

from ...contract import AgentEnvironment
from ...contract.routing import DYNAMIC
from .announcements import Announcements
from .aws import Clients, make_clients
from .delivery import DeliveryPool
from .endings import Endings
from .engine import Engine, ModelDirectory
from .hand import Hand, LanesHand, QueueHand
from .health import HealthServer
from .image_models import ImageModels
from .inputs import InputImages, InputPolicy
from .intake import Intake, Source
from .lane_choice import LaneChoice
from .lane_receiver import LaneReceiver
from .leases import Leases
from .loading import Loading
from .members import members_for
from .model_cache import ModelCache
from .model_metrics import ModelMetrics
from .model_source import ModelSource
from .models import Models
from .near_models import NearModels
from .outputs import Outputs
from .poll import AbortablePoll
from .progress import Progress
from .receiver import Receiver
from .retry import Backoff, Retrier
from .returns import Returns
from .sharing import Sharing
from .shutdown import Shutdown
from .signals import Signals
from .task_queue import TaskQueue
from .watch import Watch
from .worker import Worker

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0
_POLL_GRACE_SECONDS = 0.5
_HURRY_SECONDS = 2.0
_MOST_RELEASE_SECONDS = 3.0
_RELEASE_SHARE = 0.1
_LAST_WORDS_SECONDS = 0.5
_DELIVERIES_AT_ONCE = 4
EXIT_BROKEN = 1


class Agent:
    """A queue agent."""

    def __init__(
        self,
        environment: AgentEnvironment,
        engine: Engine,
        clients: Clients,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        """Put the parts together, without starting.

        Args:
            environment: The settings.
            engine: What makes pictures.
            clients: AWS.
            backoff: How often to try again what AWS refuses. Default: for a minute.
        """
        self._environment = environment
        self._engine = engine
        self.shutdown = Shutdown()
        retrier = Retrier(self.shutdown, backoff or Backoff())
        self._queue = TaskQueue(
            clients.sqs,
            queue_urls=_queue_urls(environment),
            dead_letter_queue_url=environment.dead_letter_queue_url,
            lease_seconds=environment.lease_seconds,
        )
        outputs = Outputs(clients.s3, environment.output_bucket)
        self._leases = Leases(self._queue, lease_seconds=environment.lease_seconds)
        self._returns = Returns(
            self._queue,
            self._leases,
            clients.s3,
            environment.output_bucket,
            max_tries=environment.max_receive_count,
        )
        endings = Endings(
            queue=self._queue,
            leases=self._leases,
            returns=self._returns,
            outputs=outputs,
            announcements=Announcements(clients.sns, environment.result_topic_arn),
            retrier=retrier,
            shutdown=self.shutdown,
            runtime_name=environment.runtime_name,
            runtime_class=environment.runtime_class,
            max_receive_count=environment.max_receive_count,
        )
        loading, near = Loading(), NearModels(engine)
        models = Models(
            runtime_class=environment.runtime_class,
            image=ImageModels(environment.image_models_directory),
            source=ModelSource(clients.s3, environment.model_bucket),
            cache=lambda source: ModelCache(
                source,
                directory=Path(environment.model_cache_directory),
                max_bytes=environment.model_cache_bytes,
            ),
            is_loaded=near.is_loaded,
        )
        batch_tasks = environment.batch_tasks
        # A whole pass may be handed over while the last of the one before is still delivered.
        deliveries = DeliveryPool(at_once=_DELIVERIES_AT_ONCE - 1 + batch_tasks)
        progress = Progress()
        sharing = Sharing(
            most_tasks=batch_tasks, task_timeout_seconds=environment.task_timeout_seconds
        )
        self._watch = Watch(
            outputs=outputs,
            leases=self._leases,
            progress=progress,
            stop_engine=engine.cancel,
            runtime_name=environment.runtime_name,
        )
        hand: Hand = QueueHand(progress, sharing, most_tasks=environment.prefetch_tasks)
        source: Source
        poll = AbortablePoll(clients.waiting_sqs)
        give_back = self._returns.give_back
        if environment.lane_queue_urls:
            name = environment.replica_name or socket.gethostname()
            steal_after = environment.steal_after_milliseconds / 1000
            members = members_for(environment, name, is_ready=lambda: self.worker.ready)
            choice = LaneChoice(
                name,
                len(environment.lane_queue_urls),
                steal_after=steal_after,
                now=time.monotonic(),
            )
            source = LaneReceiver(
                self._queue,
                poll,
                self._leases,
                self.shutdown,
                give_back,
                choice=choice,
                members=members,
                near=near,
                loading=loading,
                progress=progress,
            )
            hand = LanesHand(
                hand,
                progress=progress,
                sharing=sharing,
                loading=loading,
                near=near,
                left_over_at=lambda: choice.left_over_at,
                # Who is busy may not have told the choice yet.
                alone=lambda: len(members.members()) == 1,
                steal_after=steal_after,
            )
        else:
            source = Receiver(self._queue, poll, self._leases, self.shutdown, give_back)

        def warm(model: ModelDirectory) -> None:
            near.is_known(model.name, model.digest)
            engine.warm(model)

        self._intake = Intake(
            receiver=source,
            leases=self._leases,
            returns=self._returns,
            outputs=outputs,
            models=models,
            warm=warm,
            inputs=InputImages(InputPolicy.of(environment), clients.s3),
            endings=endings,
            deliveries=deliveries,
            retrier=retrier,
            sharing=sharing,
            hand=hand,
            watch=self._watch,
            most_bytes=environment.prefetch_bytes,
        )
        self.worker = Worker(
            intake=self._intake,
            returns=self._returns,
            engine=engine,
            models=models,
            progress=progress,
            watch=self._watch,
            endings=endings,
            deliveries=deliveries,
            retrier=retrier,
            shutdown=self.shutdown,
            sharing=sharing,
            loading=loading,
            near=near,
            metrics=(
                ModelMetrics(runtime_name=environment.runtime_name, queue_url=environment.queue_url)
                if environment.runtime_class == DYNAMIC
                else None
            ),
            preloaded=environment.models,
            task_timeout_seconds=environment.task_timeout_seconds,
            max_input_pixels=environment.max_input_pixels,
        )

    @property
    def alive(self) -> bool:
        """Whether the loops run; says nothing about the GPU."""
        return self._leases.alive and self._intake.alive and self.worker.alive

    def start(self) -> None:
        """Start the loops."""
        self._leases.start()
        self._watch.start()
        self._intake.start()
        self.worker.start()

    def run(self, signals: Signals) -> int:
        """Work until a signal comes, then drain.

        Args:
            signals: Where the signals come from.

        Returns:
            The exit status.
        """
        self.start()
        while not signals.wait(_LOOK_SECONDS):
            if not self.alive:
                # Kubernetes starts another; what is in hand comes back to the queue.
                _LOG.critical("a loop has ended")
                self.shutdown.request(0.0)
                self._intake.stop(_POLL_GRACE_SECONDS)
                self._give_back()
                return EXIT_BROKEN
        self.drain(signals)
        return 0

    def drain(self, signals: Signals) -> None:
        """Take nothing new, finish what fits in the time, give the rest back.

        Args:
            signals: A second signal ends the waiting.
        """
        seconds = float(self._environment.drain_seconds)
        for_release = min(_MOST_RELEASE_SECONDS, _RELEASE_SHARE * seconds)
        self.shutdown.request(seconds - for_release)
        _LOG.info("stopping", extra={"in_hand": len(self._leases.held()), "seconds": seconds})
        grace = min(_POLL_GRACE_SECONDS, seconds)
        intake_ended = self._intake.stop(grace)
        while not self._leases.wait_until_empty(min(0.1, self.shutdown.remaining())):
            if signals.wait(0.0):
                self.shutdown.request(min(_HURRY_SECONDS, self.shutdown.remaining()))
            if self.shutdown.remaining() <= 0:
                break
        self._give_back()
        _LOG.info("stopped", extra={"poll_ended": intake_ended})

    def _give_back(self) -> None:
        self.shutdown.request(0.0)
        # Before the engine ends, because its end makes the worker let go of its task.
        self._returns.give_back(self._leases.held())
        self._leases.stop()
        self._watch.stop()
        self._engine.close()
        self.worker.join(_LAST_WORDS_SECONDS)


def _queue_urls(environment: AgentEnvironment) -> tuple[str, ...]:
    if not environment.lane_queue_urls:
        return (environment.queue_url,)
    return (*environment.lane_queue_urls, environment.overflow_queue_url)


def serve(environment: AgentEnvironment, engine: Engine, signals: Signals) -> int:
    """Run an agent until a signal comes.

    Args:
        environment: The settings.
        engine: What makes pictures.
        signals: Where the signals come from.

    Returns:
        The exit status.
    """
    agent = Agent(environment, engine, make_clients(environment.result_topic_arn))
    if not environment.health_port:
        return agent.run(signals)
    health = HealthServer(
        port=environment.health_port,
        alive=lambda: agent.alive,
        ready=lambda: agent.worker.ready,
    )
    health.start()
    try:
        return agent.run(signals)
    finally:
        health.stop()
