"""The quickstart at work: prompts go in, pictures come out, where the time went is shown.

``python -m cdk_stable_diffusion.local.demo`` is what ``make demo`` runs.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract import ResultMessage, TaskAccepted
from .client import Client, failures, prepare_directory
from .contact_sheet import write_contact_sheet
from .errors import LocalError
from .interruption import interruptible
from .publishing import SHIPPED
from .result_queue import ResultQueue
from .service import LocalService

if TYPE_CHECKING:
    from rich.console import Console

PROMPTS = (
    "a large red circle on a blue background",
    "a small yellow star on a purple background",
    "a green heart on a white background",
    "a blue square above an orange circle on a black background",
    "a white ring on a red background",
    "a purple triangle left of a yellow cross on a green background",
)
WAIT_SECONDS = 120.0
SHEET = "contact-sheet.png"
STAGES = ("waiting", "loading", "generating", "delivering")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A prompt on its way.

    Attributes:
        prompt: The prompt.
        accepted: The API's answer.
    """

    prompt: str
    accepted: TaskAccepted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Args:
        arguments: The command line. Default: that of the process.

    Returns:
        The exit code.
    """
    from rich.console import Console

    parser = argparse.ArgumentParser(prog="python -m cdk_stable_diffusion.local.demo")
    parser.add_argument("--prompt", help="one prompt instead of six")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIRECTORY")
    options = parser.parse_args(arguments)
    console = Console()
    started = time.monotonic()
    try:
        with interruptible() as interruption:
            prompts = (options.prompt,) if options.prompt else PROMPTS
            _run(prompts, options.output, console, interruption.check)
    except LocalError as error:
        console.print(f"demo: {error}", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        return 130
    console.print(f"{time.monotonic() - started:.1f} s in all", highlight=False)
    return 0


def _run(prompts: Sequence[str], output: Path, console: Console, check: Callable[[], None]) -> None:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    prepare_directory(output)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=None)

        def say(line: str) -> None:
            progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
            progress.update(bar, description=line)

        with LocalService(say=say, check=check) as service:
            client = Client.of(service.details)
            sent = _send(prompts, client)
            count = "1 prompt" if len(sent) == 1 else f"{len(sent)} prompts"
            say(f"{count} sent to {client.endpoint}/v1/tasks")
            queue = ResultQueue(service.details["result_queue_url"], client.access)

            def tick(text: str) -> None:
                check()
                progress.update(bar, description=text)

            results = _receive(sent, queue, service.log_directory, say=say, tick=tick)
            files = _save(sent, results, client, output)
            if faults := failures(results.values()):
                service.keep_logs()
    _show(sent, results, console)
    if faults:
        raise LocalError("\n".join(faults))
    for each in (*files, output / SHEET):
        console.print(str(each), markup=False, highlight=False, soft_wrap=True)


def _send(prompts: Sequence[str], client: Client) -> list[Sent]:
    """Send the prompts, to each model in turn: one has a static runtime, the other the dynamic."""
    models = list(SHIPPED)
    sent = []
    for index, prompt in enumerate(prompts):
        task = {"model": models[index % len(models)], "prompt": prompt}
        # The six look the same on every machine; a prompt of one's own is drawn anew each time.
        seed = {"seed": index + 1} if prompts is PROMPTS else {}
        sent.append(Sent(prompt=prompt, accepted=client.submit({**task, **seed})))
    return sent


def _receive(
    sent: Sequence[Sent],
    queue: ResultQueue,
    logs: Path,
    *,
    say: Callable[[str], None],
    tick: Callable[[str], None],
) -> dict[str, ResultMessage]:
    """Wait for every result as a backend would: on the queue, not by asking for each task."""
    awaited = {each.accepted.task_id: each for each in sent}
    results: dict[str, ResultMessage] = {}
    deadline = time.monotonic() + WAIT_SECONDS
    while len(results) < len(awaited):
        tick(f"{len(results)} of {len(awaited)} results")
        if time.monotonic() >= deadline:
            raise LocalError(
                f"{len(awaited) - len(results)} of {len(awaited)} tasks have no result after "
                f"{WAIT_SECONDS:.0f} s; the agents' logs are in {logs}"
            )
        for result in queue.receive():
            if result.task_id in awaited:
                results[result.task_id] = result
                say(f"{result.status}: {awaited[result.task_id].prompt}")
    return results


def _save(
    sent: Sequence[Sent], results: dict[str, ResultMessage], client: Client, output: Path
) -> list[Path]:
    # Those of an earlier run; what else is there is the user's own.
    for old in (*output.glob("[0-9][0-9]-*.png"), output / SHEET):
        old.unlink(missing_ok=True)
    pictures = []
    for index, each in enumerate(sent, start=1):
        result = results[each.accepted.task_id]
        for saved in client.save(result, output):
            file = saved.rename(output / f"{index:02d}-{_slug(each.prompt)}.png")
            pictures.append((file, f"{each.prompt}\n{result.model} by {result.runtime}"))
    if pictures:
        write_contact_sheet(pictures, output / SHEET)
    return [file for file, _label in pictures]


def _slug(prompt: str) -> str:
    """Return a file name's part for a prompt, which is anybody's text and never a path."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60] or "picture"


def _show(sent: Sequence[Sent], results: dict[str, ResultMessage], console: Console) -> None:
    """Print a row for each task, with its S3 location below: no terminal is wide enough for it."""
    header = ("task", "model", "runtime", *(f"{each} s" for each in STAGES), "S3 location")
    rows = []
    for each in sent:
        result = results[each.accepted.task_id]
        seconds = (getattr(result.timings, f"{stage}_seconds") for stage in STAGES)
        rows.append(
            (
                result.task_id.partition("-")[0],
                result.model,
                result.runtime,
                *(f"{value:.2f}" for value in seconds),
                each.accepted.output_location,
            )
        )
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for index, row in enumerate((header, *rows)):
        *cells, location = row
        line = "  ".join(
            # Names to the left, numbers to the right.
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=False))
        )
        console.print(
            f"{line}\n{' ' * widths[0]}  {location}",
            style="bold" if index == 0 else None,
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


if __name__ == "__main__":
    sys.exit(main())
