"""A ComfyUI workflow as a model: what it takes from a request, and where its pictures come out.

Its directory holds

    workflow.json           the workflow as ComfyUI saves it for its API
    workflow_inputs.json    which of its inputs a request fills, and which nodes make the result
    checkpoints/, loras/, vae/ ...   the weights that it names, laid out as ComfyUI lays them out

A request names nothing but the model. So it is the same for every engine, and it can name no file
and no node.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from . import limits, strict_json
from .fault import Fault, InvalidDocument
from .fields import Field, ObjectField, Text, object_faults

WORKFLOW_NAME = "workflow.json"
WORKFLOW_INPUTS_NAME = "workflow_inputs.json"

WORKFLOW_INPUTS = {
    "prompt": "What the picture shall show.",
    "negative_prompt": "What it shall not show.",
    "seed": "Seed of the picture.",
    "width": "Width in pixels.",
    "height": "Height in pixels.",
    "steps": "Denoising steps.",
    "guidance_scale": "Classifier-free guidance scale.",
    "strength": "How far from the image the picture may go.",
    "scale": "How many times wider and higher to make the image.",
    "image": "Name of the image to begin with, as LoadImage takes it.",
    "mask": "Name of the image that is white where to draw anew.",
}
"""The fields of a request that a workflow can take, besides the model's name."""

PREFIX_INPUT = "filename_prefix"
"""The input by which nodes that save files take their names."""

_PATH_STARTS = ("/", "\\", "~")

_NODE = Text("node", "Id of a node.", required=True, min_length=1, max_length=64)

PLACE_FIELDS: tuple[Field, ...] = (
    _NODE,
    Text("input", "Name of one of its inputs.", required=True, min_length=1, max_length=128),
)

WORKFLOW_INPUTS_FIELDS: tuple[Field, ...] = (
    ObjectField(
        "inputs",
        "Where each field of a request goes.",
        required=True,
        fields=tuple(
            ObjectField(name, description, fields=PLACE_FIELDS, many=True)
            for name, description in WORKFLOW_INPUTS.items()
        ),
    ),
    ObjectField(
        "outputs",
        "The nodes whose files are the result. Default: all that save files for good.",
        fields=(_NODE,),
        many=True,
    ),
)


class InvalidWorkflow(InvalidDocument):
    """A workflow that cannot be run."""


@dataclass(frozen=True)
class Place:
    """An input of a node; the fields are described in `PLACE_FIELDS`."""

    node: str
    input: str


@dataclass(frozen=True)
class Workflow:
    """A checked workflow.

    Attributes:
        nodes: Its nodes, by their ids.
        inputs: Where each field of a request goes that it takes.
        outputs: The nodes whose files are the result; none for all that save files for good.
    """

    nodes: Mapping[str, Any]
    inputs: Mapping[str, tuple[Place, ...]]
    outputs: tuple[str, ...] = ()

    @classmethod
    def read(cls, directory: Path) -> Workflow:
        """Read and check the workflow of a model's directory.

        Args:
            directory: The directory.

        Raises:
            InvalidWorkflow: With every fault.
        """
        nodes = _document(directory / WORKFLOW_NAME)
        inputs = _document(directory / WORKFLOW_INPUTS_NAME)
        faults = list(_node_faults(nodes))
        if faults:
            raise InvalidWorkflow(WORKFLOW_NAME, faults)
        faults = object_faults(inputs, WORKFLOW_INPUTS_FIELDS) or list(_place_faults(nodes, inputs))
        if faults:
            raise InvalidWorkflow(WORKFLOW_INPUTS_NAME, faults)
        return cls(
            nodes=nodes,
            inputs={
                name: tuple(Place(**place) for place in places)
                for name, places in inputs["inputs"].items()
                if places
            },
            outputs=tuple(output["node"] for output in inputs.get("outputs") or ()),
        )

    @property
    def texts(self) -> set[str]:
        """Every text in an input of a node; among them the names of its weights."""
        return {
            value
            for node in self.nodes.values()
            for value in node["inputs"].values()
            if isinstance(value, str)
        }

    def renamed(self, names: Mapping[str, str]) -> Workflow:
        """Return the workflow with other names in place of some of its texts.

        Args:
            names: The other names, by the texts.
        """
        nodes = copy.deepcopy(dict(self.nodes))
        for node in nodes.values():
            for key, value in node["inputs"].items():
                if isinstance(value, str):
                    node["inputs"][key] = names.get(value, value)
        return replace(self, nodes=nodes)

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the nodes with values in the places of their fields.

        Args:
            values: Values by fields that it takes.
        """
        nodes: dict[str, Any] = copy.deepcopy(dict(self.nodes))
        for name, value in values.items():
            for place in self.inputs[name]:
                nodes[place.node]["inputs"][place.input] = value
        return nodes


def _document(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except OSError:
        raise InvalidWorkflow(path.name, [Fault("", "is missing")]) from None
    if len(data) > limits.MAX_WORKFLOW_BYTES:
        says = f"must have at most {limits.MAX_WORKFLOW_BYTES} bytes"
        raise InvalidWorkflow(path.name, [Fault("", says)])
    try:
        return strict_json.loads(data.decode("utf-8"))
    except ValueError as error:
        raise InvalidWorkflow(path.name, [Fault("", str(error))]) from None


def _node_faults(nodes: Any) -> Iterator[Fault]:
    if isinstance(nodes, dict) and isinstance(nodes.get("nodes"), list):
        yield Fault("", "is as ComfyUI's editor saves it: export it for the API instead")
    elif not isinstance(nodes, dict) or not nodes:
        yield Fault("", "must be an object of nodes by their ids")
    elif len(nodes) > limits.MAX_WORKFLOW_NODES:
        yield Fault("", f"must have at most {limits.MAX_WORKFLOW_NODES} nodes, has {len(nodes)}")
    else:
        for name, node in nodes.items():
            if not (
                isinstance(node, dict)
                and isinstance(node.get("class_type"), str)
                and isinstance(node.get("inputs"), dict)
            ):
                yield Fault(f"/{name}", "must have a class_type and inputs")
                continue
            for key, value in node["inputs"].items():
                if _leaves_the_model(value):
                    yield Fault(
                        f"/{name}/inputs/{key}",
                        "is a path that leaves the model's directory: name files as ComfyUI does",
                    )


def _place_faults(nodes: Mapping[str, Any], inputs: Mapping[str, Any]) -> Iterator[Fault]:
    for name, places in inputs["inputs"].items():
        for place in places or ():
            node = nodes.get(place["node"])
            if node is None:
                yield Fault(f"/inputs/{name}", f"there is no node {place['node']!r}")
            elif place["input"] not in node["inputs"]:
                yield Fault(
                    f"/inputs/{name}", f"node {place['node']!r} has no input {place['input']!r}"
                )
    for output in inputs.get("outputs") or ():
        name = output["node"]
        if name not in nodes:
            yield Fault("/outputs", f"there is no node {name!r}")
        elif not isinstance(nodes[name]["inputs"].get(PREFIX_INPUT), str):
            # ComfyUI runs no node again that is as it was, so that its file could not be had.
            yield Fault("/outputs", f"node {name!r} has no {PREFIX_INPUT} of its own to change")


def _leaves_the_model(value: Any) -> bool:
    """Tell whether a value is the path of a file elsewhere; a text of several words is none."""
    if not isinstance(value, str) or any(character.isspace() for character in value):
        return False
    return value.startswith(_PATH_STARTS) or ".." in PurePosixPath(value.replace("\\", "/")).parts
