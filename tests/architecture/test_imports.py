"""The import rules: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cdk_stable_diffusion

PACKAGE = Path(cdk_stable_diffusion.__file__).parent
CONSTRUCTS = ("api", "runtime", "cluster", "observability", "_acknowledge", "_validation")

PLUGIN = PACKAGE / "validation/plugin.py"

# What agent and engine, two processes, speak with each other.
SHARED = tuple(f"runtime_image/{name}" for name in ("frames", "structured_log", "told_steps"))

# Every part of the package: what of ours it may import, besides itself.
ALLOWED = {
    "contract": set(),
    "handler": {"contract"},
    "image_cache_handler": set(),
    "runtime_image/agent": {"contract", *SHARED},
    "runtime_image/engine": {"contract", *SHARED},
    **{part: {"contract"} for part in SHARED},
    "local": {"contract"},
    "planning": {"contract"},
    **{part: {"contract", *CONSTRUCTS} for part in CONSTRUCTS},
    "runtime": {"contract", *CONSTRUCTS, "image_cache_handler"},
    # It reads templates: of the library that made them it needs nothing.
    "validation": set(),
}
# What the construct of the image cache and its functions agree on: all that both may know.
AGREED = {"protocol", "references"}
TORCH = {"torch", "diffusers", "transformers", "accelerate", "safetensors"}


def part_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "/".join(parts[:2]) if parts[0] == "runtime_image" else parts[0]


def modules() -> list[Path]:
    return sorted(
        path
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "__init__.py" and "quickstart" not in path.parts
    )


def imports(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions, with relative names resolved."""
    here = ["cdk_stable_diffusion", *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = [*base, *([node.module] if node.module else [])]
            found |= {".".join([*module, alias.name]) for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_its_part_may(path: Path) -> None:
    part = part_of(path)
    if part == "runtime_image/__init__":
        assert not imports(path)
        return
    for name in imports(path):
        if name.split(".")[0] == "cdk_stable_diffusion":
            target = name.split(".")[1] if "." in name else ""
            if target == "runtime_image":
                target = "/".join(name.split(".")[1:3])
            assert target == part or target in ALLOWED[part], f"{part} imports {name}"
            if target == "image_cache_handler" and part != target:
                assert name.split(".")[2] in AGREED, f"{part} imports {name}"
        if name.split(".")[0] in ("aws_cdk", "constructs", "jsii"):
            assert part in CONSTRUCTS or path == PLUGIN, f"{part} imports {name}"
        if name.split(".")[0] in TORCH:
            assert part == "runtime_image/engine", f"{part} imports {name}"
        if name.split(".")[0] == "numpy":
            assert part in ("planning", "runtime_image/engine"), f"{part} imports {name}"
        if part == "contract":
            root = name.split(".")[0]
            assert root in (*sys.stdlib_module_names, "cdk_stable_diffusion"), name
        if part in ("handler", "image_cache_handler"):
            root = name.split(".")[0]
            ours = ("boto3", "botocore", "cdk_stable_diffusion")
            assert root in (*sys.stdlib_module_names, *ours), name


def test_the_package_itself_loads_nothing() -> None:
    code = (
        "import sys, cdk_stable_diffusion; "
        "print(sorted(set(sys.modules) & {'aws_cdk', 'jsii', 'torch', 'boto3'}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_planner_loads_its_extra_only_when_it_plans() -> None:
    code = (
        "import sys, cdk_stable_diffusion.planning.cli, cdk_stable_diffusion.planning.drawing; "
        "print(sorted(set(sys.modules) & {'numpy', 'rich', 'aws_cdk', 'boto3'}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_every_public_name_exists() -> None:
    for name in cdk_stable_diffusion.__all__:
        assert getattr(cdk_stable_diffusion, name).__doc__, name
    with pytest.raises(AttributeError, match="Nothing"):
        _ = cdk_stable_diffusion.Nothing
