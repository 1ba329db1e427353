"""In which order an update of a stack reaches what decides where a task goes."""

from __future__ import annotations

from typing import cast

from aws_cdk import CfnResource, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns


class UpdateOrder:
    """Keeps tasks from falling between two runtimes while a runtime is added or removed.

    SNS drops a task that no subscription takes, and tells nobody. So the queues of static runtimes
    are subscribed first, then the dynamic runtime's filter leaves their models out, and last the
    function routes tasks to them. A task that reaches two queues meanwhile does no harm: the second
    runtime finds the first one's result.

    It holds where runtimes come and go within the API's stack. A model that moves between runtimes
    that stay may be in neither filter for seconds, a stack of its own comes after the API's, and
    SNS takes up to 15 minutes to heed a changed filter everywhere.
    """

    def __init__(self, function: lambda_.Function) -> None:
        """Begin with the function.

        Args:
            function: What routes tasks.
        """
        self._function = cast("CfnResource", function.node.default_child)
        self._static: list[CfnResource] = []
        self._dynamic: list[CfnResource] = []

    def add(self, subscription: sns.CfnSubscription, *, is_dynamic: bool) -> None:
        """Put the subscription of a runtime in its place.

        Args:
            subscription: The subscription of the runtime's queue to the request topic.
            is_dynamic: Whether it takes what the other runtimes leave.
        """
        (self._dynamic if is_dynamic else self._static).append(subscription)
        _after(self._function, subscription)
        if is_dynamic:
            for static in self._static:
                _after(subscription, static)
        else:
            for dynamic in self._dynamic:
                _after(dynamic, subscription)


def _after(later: CfnResource, earlier: CfnResource) -> None:
    if Stack.of(later).node.addr == Stack.of(earlier).node.addr:
        later.node.add_dependency(earlier)
