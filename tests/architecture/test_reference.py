"""The reference is whole and up to date."""

from __future__ import annotations

import re
from pathlib import Path

from tools.docgen import ROOT, api_reference, with_references


def test_the_files_say_what_the_code_says() -> None:
    assert (ROOT / "API.md").read_text() == api_reference(), "run python -m tools.docgen"
    readme = (ROOT / "README.md").read_text()
    assert readme == with_references(readme), "run python -m tools.docgen"


def test_every_argument_is_described() -> None:
    empty = re.findall(
        r"^\| `([^`]+)` \|[^|]*(?:\\\|[^|]*)*\|\s*\|$", api_reference(), re.MULTILINE
    )
    assert empty == []


def test_every_link_of_the_readme_leads_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#][^)]*)\)", readme):
        path = target.partition("#")[0]
        assert target.startswith("https://") or Path(ROOT, path).exists(), target
