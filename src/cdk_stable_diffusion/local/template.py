"""What of a template is not deployed on this machine, and how the rest gets on without it."""

from __future__ import annotations

import copy
import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Template = dict[str, Any]

LEFT_OUT: Mapping[str, str] = {
    "AWS::EKS::*": "no Kubernetes cluster here: agents run as processes",
    "Custom::AWSCDK-EKS-*": "manifests and Helm charts of that cluster",
    "AWS::EC2::*": "no network or nodes needed on one machine",
    "Custom::VpcRestrictDefaultSG": "part of the network",
    "AWS::ECR::*": "no container images needed for processes",
    "AWS::Lambda::LayerVersion": "kubectl and Helm for the cluster: 60 MB that nothing here uses",
    "AWS::CloudWatch::Alarm": "nothing here measures queues, nor computes with several metrics",
    "AWS::StepFunctions::*": "they build snapshots for nodes, of which there are none",
    "Custom::StableDiffusionImageCache": "the snapshots that they build",
    "AWS::IAM::Policy": "nothing here checks permissions, and some are for roles that are not here",
}
"""Every resource type that is left out (patterns as in a shell), and why. Nothing else is."""

MARK = "left-out:"
"""What a reference to a left-out resource becomes: this and its logical id."""

_MANIFESTS = "Custom::AWSCDK-EKS-KubernetesResource"
_VARIABLE = re.compile(r"\$\{([^!}][^}]*)\}")
_DERIVING = ("Fn::Select", "Fn::Split", "Fn::Cidr")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduced:
    """A template without what is left out.

    Attributes:
        template: The rest, ready to deploy.
        types: The resource types that were left out.
        manifests: By logical id, the manifests for Kubernetes that it held, still with references.
        exports: By name, the exports that went with the resources: what refers to them becomes
            the value.
    """

    template: Template
    types: frozenset[str]
    manifests: Mapping[str, Any]
    exports: Mapping[str, str]


def is_left_out(resource_type: str) -> bool:
    """Tell whether resources of a type are left out."""
    return any(fnmatch.fnmatchcase(resource_type, pattern) for pattern in LEFT_OUT)


def leave_out(template: Template, *, missing_exports: Mapping[str, str] | None = None) -> Reduced:
    """Take out what cannot be deployed on this machine, with every reference to it.

    References become the text ``left-out:<logical id>``, dependencies and outputs on them go.

    Args:
        template: The template; it is not changed.
        missing_exports: Exports of other stacks that were left out there, with their substitutes.
            Default: none.

    Returns:
        The rest, and what was left out.
    """
    resources = template.get("Resources", {})
    gone = {name for name, each in resources.items() if is_left_out(each["Type"])}
    patch = _Patch(gone, missing_exports or {})
    kept = {}
    for name, resource in resources.items():
        if name in gone:
            continue
        kept[name] = {
            key: value if key in ("Type", "Condition", "DependsOn") else patch(value)
            for key, value in resource.items()
        }
        _drop_dependencies(kept[name], gone)
        _drop_layers(kept[name])
    outputs: dict[str, Any] = {}
    exports = {}
    for name, output in template.get("Outputs", {}).items():
        substitute = patch.substitute(output.get("Value"))
        if substitute is None:
            outputs[name] = copy.deepcopy(output)
        elif isinstance(exported := output.get("Export", {}).get("Name"), str):
            exports[exported] = substitute
    left = [kept, outputs, template.get("Conditions", {}), template.get("Rules", {})]
    left_out = [resources[name] for name in gone]
    return Reduced(
        template={
            **copy.deepcopy(template),
            # One that is looked up in Systems Manager would be looked up for nothing.
            "Parameters": {
                name: copy.deepcopy(parameter)
                for name, parameter in template.get("Parameters", {}).items()
                if _refers_to(name, left) or not _refers_to(name, left_out)
            },
            "Resources": kept,
            "Outputs": outputs,
        },
        types=frozenset(resources[name]["Type"] for name in gone),
        manifests={
            name: patch(resources[name]["Properties"]["Manifest"])
            for name in sorted(gone)
            if resources[name]["Type"] == _MANIFESTS
        },
        exports=exports,
    )


def summary(types: Iterable[str]) -> str:
    """Say in one line what is left out.

    Args:
        types: The types that were left out.
    """
    families: dict[str, list[str]] = {}
    for each in sorted(types):
        family, _, member = each.rpartition("::")
        families.setdefault(family, []).append(member)
    parts = [f"{family}::{{{', '.join(members)}}}" for family, members in families.items()]
    if not parts:
        return "not deployed on this machine: nothing is left out"
    return f"not deployed on this machine, where agents are processes: {' '.join(parts)}"


class _Patch:
    """Replaces references to resources, or to exports of other stacks, that are not there."""

    def __init__(self, gone: set[str], missing_exports: Mapping[str, str]) -> None:
        self._gone = gone
        self._missing_exports = missing_exports

    def __call__(self, value: Any) -> Any:
        """Return a copy of a value without such references."""
        if isinstance(value, list):
            return [self(each) for each in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if (substitute := self._reference(function, argument)) is not None:
                return substitute
            if function == "Fn::Sub":
                return self._sub(argument)
            if function in _DERIVING and (substitute := self.substitute(argument)) is not None:
                # Parts of something that is not there: the name stands for all of it.
                return substitute
        return {key: self(each) for key, each in value.items()}

    def substitute(self, value: Any) -> str | None:
        """Return what the first such reference in a value becomes, or None if there is none."""
        return next(self._substitutes(value), None)

    def _substitutes(self, value: Any) -> Iterator[str]:
        if isinstance(value, list):
            for each in value:
                yield from self._substitutes(each)
        elif isinstance(value, dict):
            for function, argument in value.items():
                if (found := self._reference(function, argument)) is not None:
                    yield found
                elif function == "Fn::Sub":
                    yield from self._sub_substitutes(argument)
                else:
                    yield from self._substitutes(argument)

    def _reference(self, function: str, argument: Any) -> str | None:
        if function == "Ref":
            name = argument
        elif function == "Fn::GetAtt":
            name = argument.partition(".")[0] if isinstance(argument, str) else argument[0]
        elif function == "Fn::ImportValue" and isinstance(argument, str):
            return self._missing_exports.get(argument)
        else:
            return None
        return MARK + name if name in self._gone else None

    def _sub(self, argument: Any) -> Any:
        text, variables = _sub_parts(argument)

        def replace(match: re.Match[str]) -> str:
            name = match[1].partition(".")[0]
            if match[1] not in variables and name in self._gone:
                return MARK + name
            return match[0]

        patched = _VARIABLE.sub(replace, text)
        return {"Fn::Sub": [patched, self(variables)] if variables else patched}

    def _sub_substitutes(self, argument: Any) -> Iterator[str]:
        text, variables = _sub_parts(argument)
        for match in _VARIABLE.finditer(text):
            name = match[1].partition(".")[0]
            if match[1] not in variables and name in self._gone:
                yield MARK + name
        yield from self._substitutes(variables)


def _refers_to(name: str, value: Any) -> bool:
    return _Patch({name}, {}).substitute(value) is not None


def _sub_parts(argument: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(argument, list):
        return argument[0], argument[1] if len(argument) > 1 else {}
    return argument, {}


def _drop_dependencies(resource: dict[str, Any], gone: set[str]) -> None:
    depends_on = resource.pop("DependsOn", [])
    names = [depends_on] if isinstance(depends_on, str) else depends_on
    if remaining := [name for name in names if name not in gone]:
        resource["DependsOn"] = remaining


def _drop_layers(resource: dict[str, Any]) -> None:
    """Take left-out layers from a function: it is made without them instead of not at all."""
    if resource["Type"] == "AWS::Lambda::Function":
        properties = resource["Properties"]
        layers = [each for each in properties.pop("Layers", []) if not _is_mark(each)]
        if layers:
            properties["Layers"] = layers


def _is_mark(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(MARK)
