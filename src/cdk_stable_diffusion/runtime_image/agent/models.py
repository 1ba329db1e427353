"""Every model that an agent can use: what its image carries, and what is in the model bucket."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ...contract.routing import STATIC
from .image_models import ImageModel, ImageModels
from .model_cache import LOCK_SECONDS, ModelCache
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
    ) -> None:
        """Connect.

        Args:
            runtime_class: "static" or "dynamic".
            image: The models that the image carries.
            source: The model bucket.
            cache: Opens the cache of downloaded models; called when the first one is needed.
        """
        self._image_decides = runtime_class == STATIC
        self._image = image
        self._source = source
        self._open_cache = cache
        self._cache: ModelCache | None = None
        self._opening = threading.Lock()

    def open(self, name: str, *, wait_seconds: float = LOCK_SECONDS) -> ModelInUse:
        """Return a model, checked, and downloaded if need be.

        Args:
            name: The model's name.
            wait_seconds: How long to wait for another agent that downloads it. Default: as long
                as a download may take.

        Raises:
            TaskFailure: If it is nowhere, or not as its manifest says.
        """
        carried = self._image.find(name)
        if carried is not None and (self._image_decides or self._is_the_buckets(carried)):
            return carried.use()
        with self._opening:
            if self._cache is None:
                self._cache = self._open_cache(self._source)
        return self._cache.open(name, wait_seconds=wait_seconds)

    def fetch_ahead(self, name: str) -> None:
        """Bring a model to the disk that will be opened soon, if that is possible already.

        Args:
            name: The model's name.
        """
        try:
            self.open(name, wait_seconds=0.0).close()
        except Exception as error:
            # It may need the room of the one in use. Whoever opens it finds out.
            _LOG.info("model %r is not fetched ahead: %s", name, error)

    def _is_the_buckets(self, carried: ImageModel) -> bool:
        manifest = self._source.manifest(carried.name)
        return (
            manifest.digest == carried.manifest.digest
            and manifest.defaults == carried.manifest.defaults
        )
