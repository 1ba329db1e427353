"""The GPU's thread: one pass after the other, from the tasks in hand to the pictures in hand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial

from ...contract import TaskRequest, image_seed
from ...contract.tiers import DISK, GPU, MEMORY, S3
from .additions import AdditionsInUse, additions_of, open_additions
from .delivery import DeliveryPool
from .endings import Endings
from .engine import Drawing, Engine, EngineCancelled, Generation
from .failure import TaskFailure
from .intake import Intake
from .loading import Loading
from .model_in_use import ModelInUse
from .model_metrics import ModelMetrics
from .models import Models
from .near_models import NearModels
from .progress import Progress
from .retry import Retrier
from .returns import Returns
from .sharing import Sharing
from .shutdown import Shutdown
from .watch import Watch
from .work import Work

_LOG = logging.getLogger(__name__)
LOAD_SECONDS = 600.0
"""Longest that loading a model into the engine may take."""

_READY_SECONDS = 5.0
_RESTART_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 30.0
_WARM_UP_STEPS = 2
_AHEAD_SECONDS = 0.25
"""How long before the end of a pass the engine is told of the next: some round trips within this
machine, and so little that nothing which comes meanwhile should go first."""


class Worker:
    """Prepares the engine, then has it do the queue's tasks until the agent is to stop."""

    def __init__(
        self,
        *,
        intake: Intake,
        returns: Returns,
        engine: Engine,
        models: Models,
        progress: Progress,
        watch: Watch,
        endings: Endings,
        deliveries: DeliveryPool,
        retrier: Retrier,
        shutdown: Shutdown,
        sharing: Sharing,
        loading: Loading,
        near: NearModels,
        metrics: ModelMetrics | None,
        preloaded: tuple[str, ...],
        task_timeout_seconds: float,
        max_input_pixels: int,
    ) -> None:
        """Connect.

        Args:
            intake: Where tasks come from.
            returns: Told when a task begins.
            engine: What makes pictures.
            models: The models.
            progress: Told how far the GPU is.
            watch: Stops a task that its client wants no more.
            endings: How tasks end.
            deliveries: Where endings run.
            retrier: How to try again.
            shutdown: Ends the work.
            sharing: Told how passes went.
            loading: Told how long loads take.
            near: Told which model the GPU works with.
            metrics: Told where models were; None where they never change.
            preloaded: Models to have ready before the first task.
            task_timeout_seconds: Longest a task may generate, and so those that share a pass.
            max_input_pixels: Most pixels of an input image.
        """
        self._intake = intake
        self._returns = returns
        self._engine = engine
        self._models = models
        self._progress = progress
        self._watch = watch
        self._endings = endings
        self._deliveries = deliveries
        self._retrier = retrier
        self._shutdown = shutdown
        self._sharing = sharing
        self._loading = loading
        self._near = near
        self._metrics = metrics
        self._preloaded = preloaded
        self._task_timeout_seconds = task_timeout_seconds
        self._max_input_pixels = max_input_pixels
        self._is_engine_ahead = False
        self._model: ModelInUse | None = None
        self._added = AdditionsInUse()
        self._warm = False
        self._prepared = False
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread lives."""
        return self._thread.is_alive()

    @property
    def ready(self) -> bool:
        """Whether a task that came now would begin at once."""
        return self._prepared and self._engine.health().ready and not self._shutdown.requested

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end; tell whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._prepare():
            works = self._intake.next()
            if not works:
                break
            if self._shutdown.requested:
                self._put_back(works)
                break
            self._handle(works)
            if self._is_engine_ahead and not self._intake.has_chosen:
                # What it was told of was given back meanwhile.
                self._engine.prepare(())
        self._deliveries.drain()

    def _prepare(self) -> bool:
        """Bring the engine to where it can take a task; False if the agent is to stop."""
        pause = 0.5
        while not self._shutdown.requested:
            try:
                if self._try_to_prepare():
                    if not self._prepared:
                        _LOG.info("ready")
                    self._prepared = True
                    return True
                # The engine is still importing; that was waited for.
                self._prepared = False
                continue
            except TaskFailure as failure:
                _LOG.error("not ready: %s", failure, extra={"code": failure.code})
            except Exception:
                _LOG.exception("not ready")
            self._prepared = False
            self._shutdown.wait_for_request(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return False

    def _try_to_prepare(self) -> bool:
        if not self._warm and self._preloaded:
            # The engine is still importing meanwhile.
            for name in reversed(self._preloaded):
                self._use(name)
        if not self._engine.wait_until_ready(_READY_SECONDS):
            return False
        if self._preloaded and self._model is not None and self._engine.health().model is None:
            self._engine.load(self._model.directory, timeout=LOAD_SECONDS)
            if not self._warm:
                self._warm_up(self._model)
        self._warm = True
        return True

    def _warm_up(self, model: ModelInUse) -> None:
        defaults = model.defaults
        generation = Generation(
            prompt="warm-up",
            seeds=(0,),
            width=defaults.width,
            height=defaults.height,
            steps=_WARM_UP_STEPS,
            guidance_scale=defaults.guidance_scale,
            scheduler=defaults.scheduler,
            clip_skip=defaults.clip_skip,
        )
        try:
            self._engine.generate(generation, timeout=self._task_timeout_seconds)
        except TaskFailure as failure:
            # An upscaler draws from no prompt alone, and its first task must warm it up; a safety
            # checker may dislike what so few steps drew.
            if failure.transient or failure.code not in ("unsupported-request", "unsafe-content"):
                raise
            _LOG.info("no warm-up: %s", failure)

    def _handle(self, works: Sequence[Work]) -> bool:
        """Do tasks in one pass, and tell whether that went well."""
        with self._watch.running(*works):
            works = self._without_cancelled(works)
            if not works:
                return False
            try:
                model = self._begin(works)
            except Exception as error:
                # What has to do with the model alone fails alike for all that ask for it.
                self._fail(works, error)
                return False
            # Loading may have taken long.
            works = self._without_cancelled(works)
            try:
                drawings = self._draw(works, model) if works else ()
            except Exception as error:
                if len(works) == 1 or all(work.cancelled for work in works):
                    self._fail(works, error)
                else:
                    self._handle_each_alone(works, error)
                return False
        for work, drawing in zip(works, drawings, strict=True):
            if work.cancelled and len(works) > 1:
                # The pass went on for the others.
                self._deliveries.submit(partial(self._endings.cancel, work))
            else:
                digest = model.directory.digest
                self._deliveries.submit(partial(self._endings.succeed, work, drawing, digest))
        return bool(works)

    def _without_cancelled(self, works: Sequence[Work]) -> Sequence[Work]:
        """End those that their clients want no more, and return the others."""
        self._fail([work for work in works if work.cancelled], EngineCancelled())
        return [work for work in works if not work.cancelled]

    def _handle_each_alone(self, works: Sequence[Work], error: Exception) -> None:
        """Find out whom a failed pass was up to. It costs none of its tasks a try."""
        failure = _failure_of(works[0], error)
        _LOG.warning(
            "tasks failed together, each is tried alone",
            extra={"tasks": len(works), "code": failure.code, "detail": failure.detail},
        )
        went_well = True
        for number, work in enumerate(works):
            if self._shutdown.requested:
                self._put_back(works[number:])
                return
            went_well &= self._handle([work])
        if went_well or failure.code == "out-of-memory":
            self._sharing.was_too_large(works)

    def _put_back(self, works: Sequence[Work]) -> None:
        for work in works:
            self._endings.put_back(work.message)

    def _fail(self, works: Sequence[Work], error: Exception) -> None:
        for work in works:
            failure = _failure_of(work, error)
            if work.cancelled and failure.transient:
                # Another try is what its client does not want.
                self._deliveries.submit(partial(self._endings.cancel, work))
            else:
                self._deliveries.submit(partial(self._endings.fail, work, failure))

    def _begin(self, works: Sequence[Work]) -> ModelInUse:
        """Bring the engine to where it can draw for tasks, which are all of one model."""
        together = {"together": len(works)} if len(works) > 1 else {}
        for work in works:
            work.begin()
            self._returns.begin(work.message, work.tries)
            stolen = {"stolen": True} if work.message.stolen else {}
            _LOG.info("started", extra={**work.log_fields(), **together, **stolen})
        began = time.monotonic()
        request = works[0].task.request
        loaded = False
        self._near.uses(request.model)
        self._loading.begin()
        self._intake.wake()
        try:
            model = self._use(request.model, request)
            self._near.is_known(request.model, model.directory.digest)
            # An engine that died while there was nothing to do must not cost these tasks a try.
            self._engine.wait_until_ready(_RESTART_SECONDS)
            tier = GPU
            if self._engine.health().model != model.directory.digest:
                tier = self._engine.load(model.directory, timeout=LOAD_SECONDS)
                loaded = tier != GPU
                for work in works:
                    work.loading_seconds = time.monotonic() - began
            if self._metrics is not None:
                # What was brought for this task may have come further meanwhile.
                is_farther = tier == DISK or (tier == MEMORY and model.tier == S3)
                self._metrics.used(works, model.tier if is_farther else tier)
            return model
        finally:
            self._loading.end(loaded=loaded)

    def _draw(self, works: Sequence[Work], model: ModelInUse) -> tuple[Drawing, ...]:
        generations = [
            _generation(work, model, self._added, self._max_input_pixels) for work in works
        ]
        pictures = sum(len(generation.seeds) for generation in generations)
        timeout = self._task_timeout_seconds
        began = time.monotonic()
        self._is_engine_ahead = False
        self._progress.begin()
        self._intake.wake()

        def on_step(step: int, steps: int) -> None:
            for work in works:
                work.step, work.steps = step, steps
            self._progress.step(step, steps)
            self._look_ahead(model)

        try:
            if len(generations) > 1:
                drawings = self._engine.generate_together(
                    generations, timeout=timeout, on_step=on_step
                )
            else:
                drawing = self._engine.generate(generations[0], timeout=timeout, on_step=on_step)
                drawings = (drawing,)
        finally:
            self._progress.end()
            seconds = time.monotonic() - began
            for work, generation in zip(works, generations, strict=True):
                work.generating_seconds = seconds * len(generation.seeds) / pictures
        self._sharing.measured(works, drawings[0], seconds)
        return drawings

    def _look_ahead(self, model: ModelInUse) -> None:
        """Give the engine its next work, if the present one is nearly done."""
        if self._progress.remaining() > _AHEAD_SECONDS:
            return
        works = self._intake.choose(model.directory.name)
        # What is added to the model is held when the present work is done, and not before.
        if works and not any(additions_of(works[0].task.request)):
            added = AdditionsInUse()
            self._engine.prepare(
                [_generation(each, model, added, self._max_input_pixels) for each in works]
            )
            self._is_engine_ahead = True

    def _use(self, name: str, request: TaskRequest | None = None) -> ModelInUse:
        """Return a model's files, which stay on the disk until the next model is used.

        So do those of what a request adds to it.
        """
        self._added.close()
        self._added = AdditionsInUse()
        if self._model is not None:
            # What comes next may need its room or, where it is the same model and its files are
            # damaged, its lock. What the engine has loaded, it keeps.
            self._model.close()
            self._model = None
        model = self._retrier.call(
            "getting a model", lambda: self._models.open(name), final=(TaskFailure,)
        )
        self._model = model
        if request is not None:
            self._added = self._retrier.call(
                "getting what is added to a model",
                lambda: open_additions(self._models, request),
                final=(TaskFailure,),
            )
        return model


def _failure_of(work: Work, error: Exception) -> TaskFailure:
    if isinstance(error, TaskFailure):
        return error
    if isinstance(error, EngineCancelled):
        return TaskFailure("generation-failed", "was interrupted", transient=True)
    _LOG.error("could not do a task", exc_info=error, extra=work.log_fields())
    return TaskFailure("generation-failed", f"{type(error).__name__}: {error}", transient=True)


def _generation(
    work: Work, model: ModelInUse, added: AdditionsInUse, max_input_pixels: int
) -> Generation:
    task, request, defaults = work.task, work.task.request, model.defaults
    # A picture that is given has a size of its own.
    width, height = (None, None) if work.inputs else (defaults.width, defaults.height)
    return Generation(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seeds=tuple(image_seed(task.seed, index) for index in range(request.num_images)),
        width=request.width or width,
        height=request.height or height,
        steps=request.steps or defaults.steps,
        guidance_scale=(
            defaults.guidance_scale if request.guidance_scale is None else request.guidance_scale
        ),
        scheduler=request.scheduler or defaults.scheduler,
        task_type=request.task_type,
        inputs=work.inputs,
        strength=request.strength,
        scale=request.scale,
        max_input_pixels=max_input_pixels,
        adapters=added.adapters,
        embeddings=added.embeddings,
        vae=added.vae,
        control_scale=request.control_scale,
        clip_skip=request.clip_skip or defaults.clip_skip,
    )
