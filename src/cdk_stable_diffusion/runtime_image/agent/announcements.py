"""Results on the result topic."""

from __future__ import annotations

from typing import Any

from ...contract import ResultMessage


class Announcements:
    """The result topic, in the agent's words."""

    def __init__(self, sns: Any, topic_arn: str) -> None:
        """Connect.

        Args:
            sns: SNS client.
            topic_arn: The result topic.
        """
        self._sns = sns
        self._topic_arn = topic_arn

    def publish(self, result: ResultMessage) -> None:
        """Tell the backends how a task ended."""
        self._sns.publish(
            TopicArn=self._topic_arn,
            Message=result.to_json(),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in result.attributes().items()
            },
        )
