"""The GPU's thread: one task after the other, from the task in hand to the picture in hand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ...contract import TaskRequest, image_seed
from .additions import AdditionsInUse, open_additions
from .delivery import DeliveryPool
from .endings import Endings
from .engine import Engine, EngineCancelled, Generation
from .failure import TaskFailure
from .intake import Intake
from .model_in_use import ModelInUse
from .models import Models
from .progress import Progress
from .retry import Retrier
from .returns import Returns
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
            preloaded: Models to have ready before the first task.
            task_timeout_seconds: Longest a task may generate.
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
        self._preloaded = preloaded
        self._task_timeout_seconds = task_timeout_seconds
        self._max_input_pixels = max_input_pixels
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
            work = self._intake.next()
            if work is None:
                break
            if self._shutdown.requested:
                self._endings.put_back(work.message)
                break
            self._handle(work)
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
        )
        try:
            self._engine.generate(generation, timeout=self._task_timeout_seconds)
        except TaskFailure as failure:
            if failure.code != "unsupported-request":
                raise
            # A model that draws only from an image, say: its first task warms it up.
            _LOG.info("not warmed up: %s", failure)

    def _handle(self, work: Work) -> None:
        try:
            with self._watch.running(work):
                ending = self._do(work)
        except TaskFailure as error:
            # Another try is what its client does not want.
            unwanted = error.transient and work.cancelled
            ending = self._cancelling(work) if unwanted else self._failing(work, error)
        except EngineCancelled:
            if work.cancelled:
                ending = self._cancelling(work)
            else:
                failure = TaskFailure("generation-failed", "was interrupted", transient=True)
                ending = self._failing(work, failure)
        except Exception as error:
            _LOG.exception("could not do a task", extra=work.log_fields())
            failure = TaskFailure(
                "generation-failed", f"{type(error).__name__}: {error}", transient=True
            )
            ending = self._failing(work, failure)
        self._deliveries.submit(ending)

    def _failing(self, work: Work, failure: TaskFailure) -> Callable[[], None]:
        return lambda: self._endings.fail(work, failure)

    def _cancelling(self, work: Work) -> Callable[[], None]:
        return lambda: self._endings.cancel(work)

    def _do(self, work: Work) -> Callable[[], None]:
        """Do a task and return how it ends."""
        if work.cancelled:
            raise EngineCancelled
        work.begin()
        self._returns.begin(work.message, work.tries)
        _LOG.info("started", extra=work.log_fields())
        began = time.monotonic()
        model = self._use(work.task.request.model, work.task.request)
        # An engine that died while there was nothing to do must not cost this task a try.
        self._engine.wait_until_ready(_RESTART_SECONDS)
        if self._engine.health().model != model.directory.digest:
            self._engine.load(model.directory, timeout=LOAD_SECONDS)
            work.loading_seconds = time.monotonic() - began
        if work.cancelled:
            raise EngineCancelled
        began = time.monotonic()
        self._progress.begin()
        self._intake.wake()

        def on_step(step: int, steps: int) -> None:
            work.step, work.steps = step, steps
            self._progress.step(step, steps)

        try:
            drawing = self._engine.generate(
                _generation(work, model, self._added, self._max_input_pixels),
                timeout=self._task_timeout_seconds,
                on_step=on_step,
            )
        finally:
            self._progress.end()
            work.generating_seconds = time.monotonic() - began
        return lambda: self._endings.succeed(work, drawing, model.directory.digest)

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
    )
