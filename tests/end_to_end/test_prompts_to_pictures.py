"""Prompts go in through the API, pictures come out on the result queue."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from cdk_stable_diffusion.contract.keys import task_prefix
from tests.end_to_end.running import Service, until
from tools.tiny_model.classifier import judge

RUNTIMES = {"tiny-shapes": "tiny-shapes", "tiny-shapes-copy": "any-model"}
PROMPTS = (
    "a red circle on a blue background",
    "a large green square on a white background",
    "a small yellow star on a purple background",
    "a medium orange triangle on a black background",
    "a white cross on a red background",
    "a black ring on a yellow background",
    "a purple heart on a green background",
    "a blue diamond on an orange background",
    "a large white star on a blue background",
    "a small red square at the top left on a white background",
    "a green circle at the bottom right on a black background",
    "a yellow heart at the center on a purple background",
    "a blue cross at the top on a yellow background",
    "an orange ring at the left on a green background",
    "a purple diamond at the bottom on a white background",
    "a black triangle at the right on an orange background",
    "a red circle above a blue square on a white background",
    "a green star below a yellow ring on a black background",
    "an orange heart left of a white diamond on a purple background",
    "a white square right of a red cross on a blue background",
)


def test_twenty_mixed_prompts_over_both_runtimes(service: Service) -> None:
    models = list(RUNTIMES)
    sent = {}
    for index, prompt in enumerate(PROMPTS):
        model = models[index % 2]
        accepted = service.client.submit(
            {"model": model, "prompt": prompt, "seed": 100 + index, "context": {"index": index}}
        )
        assert (accepted.runtime, accepted.model) == (RUNTIMES[model], model)
        sent[accepted.task_id] = (index, prompt, accepted)
    results = service.results(list(sent))

    wrong = []
    for task_id, (index, prompt, accepted) in sent.items():
        (result,) = results[task_id]
        assert result.status == "succeeded", result.error
        assert (result.model, result.runtime) == (accepted.model, accepted.runtime)
        assert result.runtime_class == ("static" if index % 2 == 0 else "dynamic")
        assert result.context == {"index": index}
        assert result.parameters is not None
        assert result.parameters.seed == result.images[0].seed == 100 + index
        assert f"s3://{result.images[0].bucket}/{task_prefix('', task_id)}" == (
            accepted.output_location
        )
        picture = service.picture(result)
        assert hashlib.sha256(picture).hexdigest() == result.images[0].sha256
        if not judge(Image.open(io.BytesIO(picture)), prompt).all_right:
            wrong.append(prompt)
    assert len(wrong) <= 2, wrong

    # Each task was drawn by an agent of its runtime, and by no other.
    for index, runtime in enumerate(RUNTIMES.values()):
        drawn = {each.get("task_id") for each in service.log(runtime)} & set(sent)
        assert drawn == {task_id for task_id, (number, *_) in sent.items() if number % 2 == index}
    until(lambda: set(service.messages().values()) == {0}, "all queues are empty")


def test_a_client_in_another_process_waits_and_saves_the_picture(
    service: Service, tmp_path: Path
) -> None:
    prompt = "a large red circle on a blue background"
    command = [sys.executable, "-m", "cdk_stable_diffusion.local.cli", "submit", prompt]
    done = subprocess.run(
        [*command, "--model", "tiny-shapes", "--seed", "7", "--wait", "--output", str(tmp_path)],
        env=service.up.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    result = json.loads(done.stdout)
    (file,) = map(Path, result["files"])
    assert file.parent == tmp_path
    with Image.open(file) as picture:
        assert judge(picture, prompt).all_right
        assert json.dumps(prompt)[1:-1] in json.dumps(dict(picture.info))

    # Its waiting left the backend's queue alone.
    service.results([result["task_id"]])


def test_a_client_shows_a_refusal_and_fails(service: Service) -> None:
    command = [sys.executable, "-m", "cdk_stable_diffusion.local.cli", "submit"]
    done = subprocess.run(
        [*command, "a circle", "--model", "tiny-shape", "--seed", "-1", "--wait"],
        env=service.up.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "400 Bad request" in done.stderr
    assert "/seed: must be 0 to" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_seed_draws_the_same_picture_on_both_runtimes(service: Service) -> None:
    task = {"prompt": "a blue star on a yellow background", "seed": 11, "num_images": 2}
    accepted = [service.client.submit({"model": model, **task}) for model in RUNTIMES]
    results = service.results([each.task_id for each in accepted])
    first, second = (results[each.task_id][0].images for each in accepted)
    assert [each.seed for each in first] == [11, 12]
    pixels = [
        Image.open(
            io.BytesIO(
                service.access.client("s3")
                .get_object(Bucket=image.bucket, Key=image.key)["Body"]
                .read()
            )
        )
        .convert("RGB")
        .tobytes()
        for image in (*first, *second)
    ]
    assert pixels[:2] == pixels[2:]
    assert pixels[0] != pixels[1]
