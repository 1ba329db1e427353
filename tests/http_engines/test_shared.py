"""The directory that agent and engine share."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdk_stable_diffusion.runtime_image.agent.http_engines.shared import SharedDirectory


def shown(directory: Path) -> dict[str, str]:
    models = directory / "models"
    return {
        path.relative_to(models).as_posix(): path.read_text()
        for path in models.rglob("*")
        if path.is_file()
    }


def test_it_shows_what_was_asked_for_last(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    shared = SharedDirectory(tmp_path / "shared")
    shared.show({"a": one, "loras/sub/b": two})
    assert shown(tmp_path / "shared") == {"a": "1", "loras/sub/b": "2"}
    shared.show({"loras/c": one})
    assert shown(tmp_path / "shared") == {"loras/c": "1"}
    # An engine that has listed a directory fails where it has gone.
    assert (tmp_path / "shared/models/loras/sub").is_dir()


def test_a_wish_for_a_new_engine_outlives_the_model_and_the_agent(tmp_path: Path) -> None:
    shared = SharedDirectory(tmp_path)
    shared.ask_for_replacement()
    shared.show({})
    assert SharedDirectory(tmp_path).replacement_asked
    shared.forget_replacement()
    shared.forget_replacement()
    assert not shared.replacement_asked


def test_clearing_follows_no_link_out_of_it(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    shared = SharedDirectory(tmp_path / "shared")
    output = tmp_path / "shared" / "output"
    (output / "folder").mkdir(parents=True)
    (output / "folder" / "file").write_text("made")
    (output / "link").symlink_to(kept)
    shared.clear_files()
    assert list(output.iterdir()) == []
    assert (kept / "file").read_text() == "kept"


def test_a_directory_with_models_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models" / "checkpoints").mkdir(parents=True)
    (tmp_path / "models" / "checkpoints" / "mine.safetensors").write_text("mine")
    with pytest.raises(ValueError, match=r"mine\.safetensors is no link"):
        SharedDirectory(tmp_path)
