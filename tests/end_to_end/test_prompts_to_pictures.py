"""Prompts go in through the API, pictures come out on the result queue."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

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


def test_pictures_go_in_and_come_out(service: Service) -> None:
    scene = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(scene).ellipse((12, 12, 52, 52), (230, 30, 30))
    mask = Image.new("L", (64, 64))
    mask.paste(255, (32, 0, 64, 64))
    bucket = service.details["output_bucket"]
    service.access.client("s3").put_object(Bucket=bucket, Key="uploads/a b.png", Body=_png(scene))
    stored, prompt = f"s3://{bucket}/uploads/a b.png", "a large blue circle on a white background"
    tasks: dict[str, dict[str, Any]] = {
        "image-to-image": {"prompt": prompt, "image": _data_url(scene), "strength": 0.9},
        "inpainting": {"prompt": prompt, "image": stored, "mask": _data_url(mask)},
        "upscale": {"image": stored, "scale": 4},
    }
    sent = {
        service.client.submit({"model": model, "task_type": kind, **task}).task_id: kind
        for model, (kind, task) in zip([*RUNTIMES, "tiny-shapes"], tasks.items(), strict=True)
    }
    made, parameters = {}, {}
    for task_id, found in service.results(list(sent)).items():
        kind, (result,) = sent[task_id], found
        assert (result.status, result.task_type) == ("succeeded", kind), result.error
        assert result.parameters is not None
        made[kind] = Image.open(io.BytesIO(service.picture(result)))
        assert made[kind].size == (result.images[0].width, result.images[0].height)
        parameters[kind] = result.parameters

    red, _, blue = made["image-to-image"].crop((28, 28, 36, 36)).resize((1, 1)).tobytes()
    assert blue > red
    assert parameters["image-to-image"].strength == 0.9
    # Its own pixels where the mask is black, and others where it is white.
    left, right = (0, 0, 32, 64), (34, 0, 64, 64)
    assert made["inpainting"].crop(left).tobytes() == scene.crop(left).tobytes()
    assert made["inpainting"].crop(right).tobytes() != scene.crop(right).tobytes()
    assert parameters["inpainting"].strength == 1.0
    larger = made["upscale"]
    assert larger.size == (256, 256)
    assert larger.getpixel((128, 128)) == (230, 30, 30)
    assert (parameters["upscale"].steps, parameters["upscale"].scale) == (None, 4)
    assert "Steps" not in larger.info["parameters"]
    assert json.loads(larger.info["cdk-stable-diffusion"])["scale"] == 4


def test_a_host_that_no_runtime_names_is_refused_at_once(service: Service) -> None:
    task = {"model": "tiny-shapes", "task_type": "upscale", "scale": 2}
    status, body = service.client.post(
        json.dumps({**task, "image": "https://images.example.com/a.png"}).encode()
    )
    assert status == 400
    (fault,) = json.loads(body)["errors"]
    assert (fault["pointer"], "takes no images from" in fault["detail"]) == ("/image", True)


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _data_url(picture: Image.Image) -> str:
    return f"data:image/png;base64,{base64.b64encode(_png(picture)).decode()}"
