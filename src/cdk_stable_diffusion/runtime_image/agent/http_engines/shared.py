"""The directory that the agent shares with an engine in another container.

    models/     what the engine sees as its models: links to the files of the loaded model
    models/.replace   is there when the engine must be replaced; its liveness probe looks for it
    input/, output/, temp/   ComfyUI's files, which the agent clears after each task

The engine can only read `models`. The links lead into the model cache, which both containers have
at the same path, and the engine to read.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ....contract.engines import REPLACE_NAME

_FILES = ("input", "output", "temp")


class SharedDirectory:
    """That directory."""

    def __init__(self, path: Path) -> None:
        """Open or make it.

        Args:
            path: The directory. It must be the agent's own, which removes files from it.

        Raises:
            ValueError: If somebody else's models are in it.
        """
        self._models = path / "models"
        self._files = tuple(path / name for name in _FILES)
        self._mark = self._models / REPLACE_NAME
        self._models.mkdir(parents=True, exist_ok=True)
        for file in self._models.rglob("*"):
            if file.is_file() and not file.is_symlink() and file != self._mark:
                raise ValueError(
                    f"{path} is not a directory of the agent's own: {file} is no link that an "
                    "agent has made"
                )

    def show(self, files: Mapping[str, Path]) -> None:
        """Show the engine these files as its models, and no others.

        Each file is a link of its own, because ComfyUI looks again into directories that have
        changed; those that are empty then stay, because it fails where one has gone.

        Args:
            files: Where each file is, by the name under which it is shown.
        """
        for directory, _, names in os.walk(self._models):
            for name in names:
                if name != REPLACE_NAME:
                    os.unlink(os.path.join(directory, name))
        for name, target in files.items():
            link = self._models / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)

    def ask_for_replacement(self) -> None:
        """Have the engine's container started anew."""
        self._mark.touch()

    @property
    def replacement_asked(self) -> bool:
        """Whether it is being started anew."""
        return self._mark.exists()

    def forget_replacement(self) -> None:
        """Say that it has been: what was there is gone."""
        self._mark.unlink(missing_ok=True)

    def clear_files(self) -> None:
        """Remove the files of the last task. The directories are mounts and stay."""
        for directory in self._files:
            with contextlib.suppress(OSError):
                for entry in os.scandir(directory):
                    _remove(entry)


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(entry.path)
