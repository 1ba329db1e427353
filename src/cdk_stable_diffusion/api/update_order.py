"""In which order an update of a stack reaches what decides where a task goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from aws_cdk import CfnResource, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns


class UpdateOrder:
    """Keeps tasks from being lost while runtimes come and go, or their number of lanes changes.

    SNS drops a task that no subscription takes, and tells nobody. So all subscriptions are there
    before the function sends tasks to them, and go after it has ceased to. Of the subscriptions of
    one runtime, that of the first lane, which takes what no other lane does, is changed last: what
    a new lane takes from then on, that lane takes already. A task that reaches two lanes meanwhile
    does no harm: the second replica finds the first one's result.

    It holds where runtimes come and go within the API's stack: a stack of its own comes after the
    API's. And SNS takes up to 15 minutes to heed a changed filter everywhere.
    """

    def __init__(self, function: lambda_.Function) -> None:
        """Begin with the function.

        Args:
            function: What routes tasks.
        """
        self._function = cast("CfnResource", function.node.default_child)

    def add(self, subscriptions: Sequence[sns.CfnSubscription]) -> None:
        """Put the subscriptions of a runtime in their place.

        Args:
            subscriptions: Of its queues to the request topic, in the order of its lanes.
        """
        first, *others = subscriptions
        for subscription in subscriptions:
            _after(self._function, subscription)
        for other in others:
            _after(first, other)


def _after(later: CfnResource, earlier: CfnResource) -> None:
    if Stack.of(later).node.addr == Stack.of(earlier).node.addr:
        later.node.add_dependency(earlier)
