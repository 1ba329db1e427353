"""The image's recipe, as far as it can be checked without building it."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import cdk_stable_diffusion

_PACKAGE = Path(cdk_stable_diffusion.__file__).parent
_IMAGE = _PACKAGE / "runtime_image"
_DOCKERFILE = (_IMAGE / "Dockerfile").read_text().replace("\\\n", " ")
_INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in _DOCKERFILE.splitlines()
    if line.strip() and not line.startswith("#")
]
_DISTRIBUTIONS = {"PIL": "pillow"}


def _all(instruction: str) -> list[str]:
    return [rest for name, rest in _INSTRUCTIONS if name == instruction]


def _locked() -> dict[str, str]:
    text = (_IMAGE / "requirements.lock").read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ]+) \\\n    --hash=sha256:", text, re.MULTILINE))


def test_base_images_are_pinned_by_version_and_digest() -> None:
    values = dict(argument.split("=", 1) for argument in _all("ARG"))
    bases = [re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], each) for each in _all("FROM")]
    assert len(bases) == 2
    for base in bases:
        assert re.match(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}( AS \w+)?$", base)


def test_everything_that_is_copied_exists() -> None:
    sources = [each.split()[0] for each in _all("COPY") if not each.startswith("--from")]
    assert sources
    assert all((_PACKAGE / source).exists() for source in sources)


def test_the_container_is_not_root_and_starts_the_agent() -> None:
    assert _all("USER") == ["10001:10001"]
    assert _all("ENTRYPOINT") == ['["python", "-m", "cdk_stable_diffusion.runtime_image.agent"]']
    assert "/livez" in _all("HEALTHCHECK")[0]


def test_every_requirement_is_locked_with_a_hash() -> None:
    text = (_IMAGE / "requirements.lock").read_text()
    locked = _locked()
    assert len(locked) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    for line in (_IMAGE / "requirements.in").read_text().splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            assert locked[name] == version
    assert not {"pytest", "moto", "ministack", "aws-cdk-lib", "pip"} & set(locked)


def test_everything_that_is_imported_is_in_the_lock() -> None:
    imported = set()
    for path in [*(_PACKAGE / "contract").rglob("*.py"), *_IMAGE.rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                imported.add(node.module.partition(".")[0])
    others = imported - set(sys.stdlib_module_names)
    assert others
    assert {_DISTRIBUTIONS.get(name, name) for name in others} <= set(_locked())
