"""Every model that an agent can use: what its image carries, and what is in the model bucket."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from ...contract.model_kind import PIPELINE
from ...contract.routing import STATIC
from .engine import ModelDirectory
from .failure import TaskFailure
from .fetch_ahead import FetchAhead, Wanted
from .image_models import ImageModel, ImageModels
from .manifest import check_kind
from .model_cache import LOCK_SECONDS, LockTaken, ModelCache
from .model_in_use import ModelInUse
from .model_source import ModelSource

_LOG = logging.getLogger(__name__)


class Models:
    """Opens models, from the image where that is right.

    In a static runtime a model that the image carries is the one to use: the bucket need not have
    it and is not asked. In a dynamic runtime the bucket decides which weights a name stands for,
    since whoever puts new ones there expects the next task to use them; the image only saves the
    download of the same weights.
    """

    def __init__(
        self,
        *,
        runtime_class: str,
        image: ImageModels,
        source: ModelSource,
        cache: Callable[[ModelSource], ModelCache],
        is_loaded: Callable[[str, str], bool] = lambda name, digest: False,
    ) -> None:
        """Connect.

        Args:
            runtime_class: "static" or "dynamic".
            image: The models that the image carries.
            source: The model bucket.
            cache: Opens the cache of downloaded models; called when the first one is needed.
            is_loaded: Whether a model, by its name and digest, is the one that the engine draws
                with, whose files stay as long. Default: none is.
        """
        self._image_decides = runtime_class == STATIC
        self._image = image
        self._source = source
        self._open_cache = cache
        self._is_loaded = is_loaded
        self._cache: ModelCache | None = None
        self._opening = threading.Lock()
        self._fetching_ahead = FetchAhead(self._fetch_ahead)

    def open(
        self, name: str, *, kind: str = PIPELINE, wait_seconds: float = LOCK_SECONDS
    ) -> ModelInUse:
        """Return a model, checked, and downloaded if need be.

        Args:
            name: The model's name.
            kind: What it must be. Default: a model.
            wait_seconds: How long to wait for another agent that downloads it. Default: as long
                as a download may take.

        Raises:
            TaskFailure: If it is nowhere, or not as its manifest says, or something else.
        """
        carried = self._opened_from_image(name, kind)
        if carried is not None:
            return carried
        return self._opened_cache().open(name, kind=kind, wait_seconds=wait_seconds)

    def size_in_cache(self, name: str) -> dict[str, int]:
        """Return how many bytes a model takes in the cache, by its digest; empty if none.

        Args:
            name: The model's name.

        Raises:
            TaskFailure: If it is nowhere.
        """
        if self._carried(name) is not None:
            return {}
        manifest = self._source.manifest(name)
        return {manifest.digest: manifest.size}

    def check_room(self, sizes: Mapping[str, int]) -> None:
        """Check that the cache can hold some models at once.

        Args:
            sizes: Their bytes by digest.

        Raises:
            TaskFailure: If it never can.
        """
        size = sum(sizes.values())
        if size > (most := self._opened_cache().max_bytes):
            raise TaskFailure(
                "unsupported-request",
                f"the model and what is added to it have {size} bytes, the cache holds {most}",
            )

    def fetch_ahead(
        self,
        name: str,
        *,
        kind: str = PIPELINE,
        then: Callable[[ModelDirectory], None] | None = None,
    ) -> None:
        """Bring a model to the disk that will be opened soon, if that is possible. Never waits.

        Args:
            name: The model's name.
            kind: What it must be. Default: a model.
            then: Called, in a thread of its own, once the model is there; not if the engine draws
                with it. Default: nothing.
        """
        known = self._source.known(name)
        if known is not None and self._is_loaded(name, known.digest):
            # As of most tasks, each of which would have its files looked through once more.
            return
        self._fetching_ahead.want(Wanted(name, kind, then))

    def _fetch_ahead(self, wanted: Wanted) -> None:
        try:
            model = self._fetched(wanted)
            try:
                if wanted.then is not None:
                    wanted.then(model.directory)
            finally:
                model.close()
        except LockTaken:
            # It is on its way: nothing to say, since every model's first task is opened just then.
            pass
        except Exception as error:
            # It may need the room of the one in use. Whoever opens it finds out.
            _LOG.info("model %r is not fetched ahead: %s", wanted.name, error)

    def _fetched(self, wanted: Wanted) -> ModelInUse:
        carried = self._opened_from_image(wanted.name, wanted.kind)
        if carried is not None:
            return carried
        return self._opened_cache().fetch_ahead(wanted.name, kind=wanted.kind)

    def _opened_from_image(self, name: str, kind: str) -> ModelInUse | None:
        carried = self._carried(name)
        if carried is None:
            return None
        check_kind(carried.manifest, kind)
        return carried.use()

    def _opened_cache(self) -> ModelCache:
        with self._opening:
            if self._cache is None:
                self._cache = self._open_cache(self._source)
            return self._cache

    def _carried(self, name: str) -> ImageModel | None:
        """Return what the image carries, if that is what the name stands for."""
        carried = self._image.find(name)
        if carried is not None and (self._image_decides or self._is_the_buckets(carried)):
            return carried
        return None

    def _is_the_buckets(self, carried: ImageModel) -> bool:
        manifest = self._source.manifest(carried.name)
        return (
            manifest.digest == carried.manifest.digest
            and manifest.defaults == carried.manifest.defaults
        )
