"""Deploy an app's stacks to the emulator, through its CloudFormation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..contract import template as marks
from .assembly import Stack, read_assembly
from .assets import upload_assets
from .aws import ACCOUNT, AwsAccess
from .errors import LocalError
from .template import leave_out, summary

DEPLOY_SECONDS = 120.0
BOOTSTRAP_VERSION = "30"

_MANIFEST_OUTPUT = "LocalManifest"
_MARKED_OUTPUT = "LocalMarked"
_PLACEHOLDERS = {"AWS::AccountId": ACCOUNT, "AWS::Partition": "aws"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Marked:
    """A deployed resource that the constructs have marked (see `contract.template`).

    Attributes:
        mark: The mark.
        logical_id: Its name in the template.
        physical_id: What `Ref` gives: a URL for a queue, a name for a bucket, an id otherwise.
    """

    mark: str
    logical_id: str
    physical_id: str


@dataclass(kw_only=True, slots=True)
class Deployment:
    """What was deployed.

    Attributes:
        marked: The marked resources.
        manifests: The manifests for Kubernetes, resolved: each a list of objects.
        left_out: The resource types that were not deployed.
    """

    marked: list[Marked] = field(default_factory=list)
    manifests: list[list[dict[str, Any]]] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    def physical_ids(self, mark: str) -> list[str]:
        """Return the physical ids of all resources with a mark, in the order of the templates."""
        return [each.physical_id for each in self.marked if each.mark == mark]


def deploy(
    assembly: Path,
    access: AwsAccess,
    *,
    say: Callable[[str], None] = lambda line: None,
    check: Callable[[], None] = lambda: None,
) -> Deployment:
    """Deploy every stack of an app, each after those that it depends on.

    Args:
        assembly: The app's cloud assembly.
        access: The emulator.
        say: Told in one line what is left out. Default: nothing is said.
        check: Called every now and then; what it raises ends the deployment. Default: nothing is
            called.

    Returns:
        What was deployed.

    Raises:
        LocalError: Naming the first resource that failed, and why.
    """
    stacks = read_assembly(assembly, {**_PLACEHOLDERS, "AWS::Region": access.region})
    reduced = []
    missing_exports: dict[str, str] = {}
    for stack in stacks:
        each = leave_out(stack.template, missing_exports=missing_exports)
        missing_exports.update(each.exports)
        reduced.append(each)
    deployment = Deployment(left_out={name for each in reduced for name in each.types})
    say(summary(deployment.left_out))
    _bootstrap(stacks, access)
    for stack, each in zip(stacks, reduced, strict=True):
        _create_stack(stack, each.template, each.manifests, access)
        outputs = _wait(stack.name, access.client("cloudformation"), check)
        deployment.marked += _marked(each.template, outputs)
        deployment.manifests += _manifests(outputs)
    return deployment


def _bootstrap(stacks: Iterable[Stack], access: AwsAccess) -> None:
    """Make the stand-ins for what `cdk bootstrap` makes: asset buckets and a version."""
    s3, ssm = access.client("s3"), access.client("ssm")
    for bucket in sorted({asset.bucket for stack in stacks for asset in stack.assets}):
        s3.create_bucket(Bucket=bucket)
    for name in sorted({each for stack in stacks if (each := stack.bootstrap_parameter)}):
        ssm.put_parameter(Name=name, Value=BOOTSTRAP_VERSION, Type="String")


def _create_stack(
    stack: Stack, template: dict[str, Any], manifests: Mapping[str, Any], access: AwsAccess
) -> None:
    s3, cloudformation = access.client("s3"), access.client("cloudformation")
    text = json.dumps(_with_outputs(template, manifests))
    bucket = f"local-templates-{stack.name.lower()}"[:63].rstrip("-")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="template.json", Body=text.encode("utf-8"))
    upload_assets(s3, stack.assets, needed_by=text)
    from botocore.exceptions import ClientError

    try:
        cloudformation.create_stack(
            StackName=stack.name,
            TemplateURL=f"{access.endpoint_url}/{bucket}/template.json",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            OnFailure="DO_NOTHING",
        )
    except ClientError as error:
        raise LocalError(
            f"stack {stack.name} was refused: {error.response['Error'].get('Message', error)}"
        ) from None


def _wait(name: str, cloudformation: Any, check: Callable[[], None]) -> dict[str, str]:
    deadline = time.monotonic() + DEPLOY_SECONDS
    while time.monotonic() < deadline:
        state = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if state["StackStatus"] == "CREATE_COMPLETE":
            return {each["OutputKey"]: each["OutputValue"] for each in state.get("Outputs", ())}
        if not state["StackStatus"].endswith("_IN_PROGRESS"):
            raise LocalError(_failure(name, state, cloudformation))
        check()
        time.sleep(0.05)
    raise LocalError(f"stack {name} was not deployed within {DEPLOY_SECONDS:.0f} s")


def _failure(name: str, state: Mapping[str, Any], cloudformation: Any) -> str:
    """Say which resource failed first, and why."""
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [
        f"{each['LogicalResourceId']} ({each.get('ResourceType', '?')}): "
        f"{each.get('ResourceStatusReason', 'no reason given')}"
        for each in reversed(events)
        if each["ResourceStatus"].endswith("_FAILED") and each["LogicalResourceId"] != name
    ]
    reason = "; ".join(failed[:3]) or state.get("StackStatusReason", "no reason given")
    return f"stack {name} failed ({state['StackStatus']}): {reason}"


def _with_outputs(template: dict[str, Any], manifests: Mapping[str, Any]) -> dict[str, Any]:
    """Add outputs, so that CloudFormation itself resolves what the local service must know."""
    outputs = dict(template.get("Outputs", {}))
    for index, (logical_id, _mark) in enumerate(_marks(template)):
        outputs[f"{_MARKED_OUTPUT}{index}"] = {"Value": {"Ref": logical_id}}
    for index, manifest in enumerate(manifests.values()):
        outputs[f"{_MANIFEST_OUTPUT}{index}"] = {"Value": manifest}
    return {**template, "Outputs": outputs}


def _marks(template: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (logical_id, mark)
        for logical_id, resource in template.get("Resources", {}).items()
        if isinstance(mark := resource.get("Metadata", {}).get(marks.METADATA_KEY), str)
    ]


def _marked(template: Mapping[str, Any], outputs: Mapping[str, str]) -> list[Marked]:
    return [
        Marked(mark=mark, logical_id=name, physical_id=outputs[f"{_MARKED_OUTPUT}{index}"])
        for index, (name, mark) in enumerate(_marks(template))
    ]


def _manifests(outputs: Mapping[str, str]) -> list[list[dict[str, Any]]]:
    return [
        json.loads(value) for name, value in outputs.items() if name.startswith(_MANIFEST_OUTPUT)
    ]
