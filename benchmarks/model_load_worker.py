"""One of the processes that `benchmarks.model_load` times: it does what each line asks for.

    python -m benchmarks.model_load_worker WAY MODEL PORT

A line is a folder; the answer is a line, too, once the model is in it (`raw`: once it came), or
from it in a pipeline (`engine`, `from_pretrained`).
"""

from __future__ import annotations

import http.client
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

BUCKET = "models"
NAME = "sd15"
_MIB = 1 << 20
_SWITCH_SECONDS = 0.0005


def main() -> None:
    """Read lines, work, and answer."""
    way, model, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    work = {
        "raw": lambda: _raw(port, part_bytes=16 * _MIB, connections=20),
        "raw, larger parts": lambda: _raw(port, part_bytes=64 * _MIB, connections=4),
        "agent": lambda: _agent(port),
        "download_file": lambda: _download_file(port),
        "engine": lambda: _engine(model),
        "from_pretrained": lambda: _from_pretrained(model),
    }[way]()
    print("ready", flush=True)
    for line in sys.stdin:
        work(Path(line.rstrip("\n")))
        print("done", flush=True)


def _s3(port: int) -> Any:
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    from cdk_stable_diffusion.runtime_image.agent.aws import make_clients

    return make_clients("arn:aws:sns:us-east-1:1:any").s3


def _agent(port: int) -> Callable[[Path], None]:
    """Download as the agent does, set up as it is."""
    from cdk_stable_diffusion.runtime_image.agent.allocator import keep_large_blocks_apart
    from cdk_stable_diffusion.runtime_image.agent.model_cache import ModelCache
    from cdk_stable_diffusion.runtime_image.agent.model_source import ModelSource

    sys.setswitchinterval(_SWITCH_SECONDS)
    keep_large_blocks_apart()
    source = ModelSource(_s3(port), BUCKET)

    def work(directory: Path) -> None:
        cache = ModelCache(source, directory=directory, max_bytes=1 << 40)
        model = cache.open(NAME)
        (directory / "pipeline").symlink_to(model.directory.path)
        model.close()

    return work


def _download_file(port: int) -> Callable[[Path], None]:
    """Download as most do: file after file, with boto3's own parts and threads. No checksum."""
    import boto3

    from cdk_stable_diffusion.contract.keys import model_prefix
    from cdk_stable_diffusion.runtime_image.agent.model_source import ModelSource

    manifest = ModelSource(_s3(port), BUCKET).manifest(NAME)
    s3 = boto3.client("s3")

    def work(directory: Path) -> None:
        for file in manifest.files:
            path = directory / "pipeline" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(BUCKET, model_prefix(NAME) + file.path, str(path))

    return work


def _raw(port: int, *, part_bytes: int, connections: int) -> Callable[[Path], None]:
    """Get all parts side by side, and keep nothing."""
    from cdk_stable_diffusion.contract.keys import model_prefix
    from cdk_stable_diffusion.runtime_image.agent.model_source import ModelSource

    manifest = ModelSource(_s3(port), BUCKET).manifest(NAME)

    def work(directory: Path) -> None:
        parts: queue.SimpleQueue[tuple[str, int, int]] = queue.SimpleQueue()
        for file in sorted(manifest.files, key=lambda file: -file.size):
            path = f"/{BUCKET}/{model_prefix(NAME)}{file.path}"
            for start in range(0, file.size, part_bytes):
                parts.put((path, start, min(start + part_bytes, file.size)))
        threads = [threading.Thread(target=_get, args=(port, parts)) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return work


def _get(port: int, parts: queue.SimpleQueue[tuple[str, int, int]]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    buffer = memoryview(bytearray(_MIB))
    while True:
        try:
            path, start, end = parts.get_nowait()
        except queue.Empty:
            connection.close()
            return
        connection.request("GET", path, headers={"Range": f"bytes={start}-{end - 1}"})
        answer = connection.getresponse()
        left = end - start
        while read := answer.readinto(buffer):
            left -= read
        assert left == 0, f"{path} is short of {left} bytes"


def _engine(model: Path) -> Callable[[Path], None]:
    from cdk_stable_diffusion.runtime_image.engine.libraries import import_libraries

    import_libraries()
    from cdk_stable_diffusion.runtime_image.engine.loading import load_pipeline

    return _loading(model, lambda directory: load_pipeline(directory, in_half=True))


def _from_pretrained(model: Path) -> Callable[[Path], None]:
    import torch
    from diffusers import StableDiffusionPipeline

    return _loading(
        model,
        lambda directory: StableDiffusionPipeline.from_pretrained(
            str(directory), dtype=torch.float16, local_files_only=True
        ),
    )


def _loading(model: Path, load: Callable[[Path], Any]) -> Callable[[Path], None]:
    import torch

    def work(directory: Path) -> None:
        pipeline = load(directory / "pipeline")
        # A tensor that is only mapped is there once its pages are.
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            for tensor in part.state_dict().values():
                tensor.contiguous().view(-1).view(torch.uint8)[::4096].sum()

    # An engine has drawn with another model before: its libraries are there.
    for _ in range(2):
        pipeline = load(model)
        del pipeline
    return work


if __name__ == "__main__":
    main()
