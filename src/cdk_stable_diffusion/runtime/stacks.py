"""Over which stacks a runtime, and what it needs, may be spread."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

from aws_cdk import Stack
from constructs import Construct, IConstruct

from .._validation import Faults

_UNKNOWN = "an account and a region that are known at deployment"

_waits_for: WeakKeyDictionary[IConstruct, dict[str, set[str]]] = WeakKeyDictionary()
"""By app: the stacks that a stack is deployed after, because of runtimes and pools in it."""


def outermost_stack(construct: IConstruct) -> Stack:
    """Return the stack that a construct is deployed with: not a nested one, but what that is in.

    Args:
        construct: The construct.
    """
    stack = Stack.of(construct)
    while stack.nested_stack_parent is not None:
        stack = stack.nested_stack_parent
    return stack


def check_stacks(faults: Faults, scope: Construct, needs: Mapping[str, object]) -> None:
    """Check that what is made in a stack can refer to what it needs in others.

    AWS CDK finds the same at synthesis, but names neither the argument nor what to do.

    Args:
        faults: Where to record what is wrong.
        scope: Where it is made.
        needs: What it needs, by the names of its arguments. `GpuNodes` are in no stack.
    """
    here = outermost_stack(scope)
    for name, there in _stacks(needs).items():
        faults.check(
            there.environment == here.environment,
            f"{name} is in the stack {there.node.path!r} with {_environment(there)}, and this in "
            f"{here.node.path!r} with {_environment(here)}: in one account and region",
        )
        faults.check(
            not _is_after(there, here),
            f"{name} is in the stack {there.node.path!r}, which is deployed after "
            f"{here.node.path!r} because of another runtime or pool, so that neither could be "
            "first: put them in one of the two stacks, or in one of their own",
        )


def record_stacks(scope: Construct, needs: Mapping[str, object]) -> None:
    """Remember after which stacks that of something new is deployed.

    Args:
        scope: Where it is made.
        needs: As for `check_stacks`.
    """
    here = outermost_stack(scope).node.path
    others = {there.node.path for there in _stacks(needs).values()} - {here}
    _waits_for.setdefault(scope.node.root, {}).setdefault(here, set()).update(others)


def _stacks(needs: Mapping[str, object]) -> dict[str, Stack]:
    return {
        name: outermost_stack(need) for name, need in needs.items() if isinstance(need, Construct)
    }


def _is_after(stack: Stack, other: Stack) -> bool:
    """Tell whether a stack is deployed after another one, be it by way of a third."""
    waits_for = _waits_for.get(stack.node.root, {})
    found: set[str] = set()
    left = {stack.node.path}
    while left:
        found |= left
        left = {each for path in left for each in waits_for.get(path, ())} - found
    return other.node.path in found - {stack.node.path}


def _environment(stack: Stack) -> str:
    environment = stack.environment.removeprefix("aws://")
    return _UNKNOWN if environment.startswith("unknown-account/unknown") else environment
