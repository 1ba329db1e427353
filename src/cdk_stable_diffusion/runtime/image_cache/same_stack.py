"""The check that the identifier of a snapshot stays in its stack."""

from __future__ import annotations

import jsii
from aws_cdk import CfnOutput, Stack
from constructs import Construct, IValidation


@jsii.implements(IValidation)
class StaysInItsStack:
    """Refuses a snapshot that another stack imports.

    Its identifier changes with the images, and CloudFormation changes no value that another stack
    imports: the first new image would fail the deployment, after all of the build.
    """

    def __init__(self, cache: Construct, snapshot_id: str) -> None:
        """Make the check, for when references between stacks are resolved.

        Args:
            cache: The cache.
            snapshot_id: Identifier of its snapshot; a token.
        """
        self._cache = cache
        self._snapshot_id = snapshot_id

    def validate(self) -> list[str]:
        """Return what is wrong, if anything is."""
        stack = Stack.of(self._cache)
        exports = stack.node.try_find_child("Exports")
        outputs = [] if exports is None else exports.node.children
        snapshot_id = stack.resolve(self._snapshot_id)
        if all(
            stack.resolve(each.value) != snapshot_id
            for each in outputs
            if isinstance(each, CfnOutput)
        ):
            return []
        return [
            "snapshot_id is used in another stack: it changes with the images, and CloudFormation "
            "changes no value that another stack imports; make the cache in the stack of the nodes "
            "that start from it"
        ]
