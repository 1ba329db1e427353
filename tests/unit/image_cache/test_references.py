"""Names of images: read strictly, and spelt as containerd looks them up."""

from __future__ import annotations

import shlex
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.image_cache_handler.references import ImageReference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"public.ecr.aws/a/b@{DIGEST}", f"public.ecr.aws/a/b@{DIGEST}"),
        # The kubelet drops a tag beside a digest, so an image under both is never found.
        (f"public.ecr.aws/a/b:1.0@{DIGEST}", f"public.ecr.aws/a/b@{DIGEST}"),
        (f"docker.io/nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"index.docker.io/a/b@{DIGEST}", f"docker.io/a/b@{DIGEST}"),
        ("registry.example:5000/a:v1", "registry.example:5000/a:v1"),
        ("registry.example/a", "registry.example/a:latest"),
    ],
)
def test_it_is_named_as_containerd_names_it(text: str, name: str) -> None:
    assert ImageReference.parse(text).name() == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nginx",
        "a/b:tag",
        "https://public.ecr.aws/a",
        "public.ecr.aws/",
        "public.ecr.aws/A",
        "public.ecr.aws/a@sha256:123",
        f"public.ecr.aws/a@{DIGEST.upper()}",
        f"public.ecr.aws/a@{DIGEST}\n",
        "public.ecr.aws/a;reboot",
        "public.ecr.aws/a$(reboot)",
        "public.ecr.aws/a`reboot`",
        "public.ecr.aws/a b",
        "public.ecr.aws/a'b",
        "public.ecr.aws/a|b",
        "public.ecr.aws/a&b",
        "public.ecr.aws/../a",
        "public.ecr.aws/a//b",
        "-public.ecr.aws/a",
        "public.ecr.aws/ä",
        "public.ecr.aws/" + "a" * 600,
    ],
)
def test_what_is_no_image_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no image with its registry"):
        ImageReference.parse(text)


@given(st.text(alphabet=string.printable, max_size=80) | st.text(max_size=80))
def test_what_is_accepted_means_nothing_to_a_shell(text: str) -> None:
    for whole in (text, f"registry.example/{text}", f"registry.example/a:{text}"):
        try:
            name = ImageReference.parse(whole).name()
        except ValueError:
            continue
        assert shlex.quote(name) == name
        assert not name.startswith("-")
