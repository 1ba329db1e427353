"""What is acknowledged is a finding, and says why it stays."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from cdk_stable_diffusion import _acknowledge
from tests.nag.nag import Finding
from tests.nag.scenes import SCENES, scene

_LEAST_CHARACTERS = 40


class _Silent:
    """Acknowledges nothing."""

    @classmethod
    def of(cls, construct: object) -> _Silent:
        return cls()

    def acknowledge(self, *acknowledgements: object) -> None:
        pass


def findings_without_acknowledgements() -> Iterator[Finding]:
    with patch.object(_acknowledge, "Validations", _Silent):
        for name, flags in SCENES:
            yield from scene.__wrapped__(name, flags).audit.findings


@pytest.mark.parametrize(("name", "flags"), SCENES)
def test_every_scene_is_clean(name: str, flags: bool) -> None:
    assert [str(each) for each in scene(name, flags).audit.findings] == []


@pytest.mark.slow
def test_every_acknowledgement_answers_a_finding() -> None:
    found = set(findings_without_acknowledgements())
    assert found
    said = {each for name, flags in SCENES for each in scene(name, flags).audit.acknowledgements}
    idle = [
        f"{each.construct}: {each.rule}"
        for each in said
        if not any(each.answers(finding) for finding in found)
    ]
    assert sorted(idle) == []


def test_every_acknowledgement_is_a_sentence() -> None:
    for name, flags in SCENES:
        for each in scene(name, flags).audit.acknowledgements:
            assert each.reason.endswith("."), each
            assert len(each.reason) >= _LEAST_CHARACTERS, each
