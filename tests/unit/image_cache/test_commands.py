"""The commands, run by a shell of this machine against a stand-in for Bottlerocket."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cdk_stable_diffusion.image_cache_handler.commands import pull_commands

IMAGE = "public.ecr.aws/a/b@sha256:" + "a" * 64


def run(tmp_path: Path, host: str, *images: str) -> subprocess.CompletedProcess[str]:
    """Run the commands; `host` is a shell script that stands for the programs on the host."""
    apiclient = tmp_path / "apiclient"
    apiclient.write_text(
        '#!/bin/sh\n[ "$*" = "exec admin true" ] && exit 0\nshift 3\n'
        f'cd "{tmp_path}"\necho "$*" >> calls\n{host}\n'
    )
    apiclient.chmod(0o755)
    script = "\n".join(pull_commands(images, lifetime_minutes=45))
    return subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
    )


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def test_they_succeed_when_every_image_is_complete(tmp_path: Path) -> None:
    done = run(tmp_path, f'case "$*" in *"images check"*) echo {IMAGE} ;; esac', IMAGE)
    assert (done.returncode, done.stderr) == (0, "")
    assert calls(tmp_path)[0] == "shutdown -P +45"


def test_an_image_that_is_not_complete_fails_them(tmp_path: Path) -> None:
    done = run(tmp_path, f'case "$*" in *"images check"*) echo {IMAGE[:-1]}b ;; esac', IMAGE)
    assert done.returncode == 1
    assert f"not complete: {IMAGE}" in done.stderr


def test_what_the_host_says_of_a_pull_is_reported(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        'case "$*" in *pull-image*) echo "no basic auth credentials"; exit 1 ;; esac',
        IMAGE,
    )
    assert done.returncode == 1
    assert "no basic auth credentials" in done.stderr


def test_a_pull_that_fails_once_is_tried_again(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        'case "$*" in *pull-image*) [ -e tried ] || { touch tried; exit 1; } ;; '
        f'*"images check"*) echo {IMAGE} ;; esac',
        IMAGE,
    )
    assert done.returncode == 0
    assert sum("pull-image" in call for call in calls(tmp_path)) == 2


def test_a_kubelet_that_goes_on_fails_them(tmp_path: Path) -> None:
    done = run(tmp_path, 'case "$*" in systemctl*) exit 1 ;; esac', IMAGE)
    assert done.returncode == 1
    assert not any("pull-image" in call for call in calls(tmp_path))


def test_no_scheduled_shutdown_does_not(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        f'case "$*" in shutdown*) exit 1 ;; *"images check"*) echo {IMAGE} ;; esac',
        IMAGE,
    )
    assert done.returncode == 0
    assert "no shutdown is scheduled" in done.stderr


def test_they_hold_no_credentials_and_ask_for_none() -> None:
    script = "\n".join(pull_commands([IMAGE], lifetime_minutes=45))
    for word in ("password", "get-login", "--user", "AWS:", "TOKEN"):
        assert word.lower() not in script.lower()


@pytest.mark.parametrize("name", ["a$(touch hacked)", "a;touch hacked", "a' ; touch hacked ; '"])
def test_even_a_name_that_slipped_through_is_only_a_word(tmp_path: Path, name: str) -> None:
    run(tmp_path, ":", name)
    assert not (tmp_path / "hacked").exists()
    assert not Path("hacked").exists()
