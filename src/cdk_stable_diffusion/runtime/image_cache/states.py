"""The pieces of the state machines, in the Amazon States Language with JSONPath."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

State = dict[str, Any]
States = dict[str, State]

TROUBLE = "$.Trouble"
"""Where the data has the last error that did not end anything."""

_CALL_SECONDS = 60
"""AWS answers within seconds; a call without an answer must not hold a build up."""


def call(
    action: str,
    parameters: Mapping[str, Any],
    *,
    result: str = "$.Answer",
    select: Mapping[str, Any] | None = None,
) -> State:
    """Return a state that calls AWS once; it has no next state yet.

    Args:
        action: Service and action, such as "ec2:runInstances".
        parameters: Parameters of the action.
        result: Where in the data the answer goes. Default: where the next one replaces it.
        select: What is taken of the answer. Default: all of it.
    """
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::aws-sdk:{action}",
        "Parameters": dict(parameters),
        **({"ResultSelector": dict(select)} if select is not None else {}),
        "ResultPath": result,
        "TimeoutSeconds": _CALL_SECONDS,
    }


def retried(state: State, *, times: int, then: str) -> State:
    """Return a state that is tried anew, with growing pauses, before it fails.

    Args:
        state: The state.
        times: How often it is tried anew.
        then: The next state.
    """
    retry = {
        "ErrorEquals": ["States.ALL"],
        "IntervalSeconds": 5,
        "BackoffRate": 2,
        "MaxAttempts": times,
    }
    return {**state, "Retry": [retry], "Next": then}


def start(then: str) -> State:
    """Return the state that must come before every loop: so far there was no trouble.

    Args:
        then: The next state.
    """
    return {"Type": "Pass", "Result": {"Error": "none"}, "ResultPath": TROUBLE, "Next": then}


def start_counting(counter: str, then: str) -> State:
    """Return a state that sets a counter to nothing.

    Args:
        counter: The counter.
        then: The next state.
    """
    return {"Type": "Pass", "Result": {"Count": 0}, "ResultPath": f"$.{counter}", "Next": then}


def loop(
    name: str,
    ask: State,
    *,
    done: Mapping[str, Any],
    failed: Mapping[str, Any] | None = None,
    failure: State | None = None,
    meanwhile: State | None = None,
    counter: str,
    seconds: int,
    tries: int,
    too_late: str,
    then: str,
) -> States:
    """Return states that ask again and again until something is so, but not for ever.

    An error is an answer like "not yet": AWS shows what it has just made a moment late, and refuses
    what is asked too often. Only a path that leads nowhere is no such error: it ends the whole
    execution, and nothing can catch it. So a question selects nothing of its answer, and the
    conditions ask whether there is such a place.

    Args:
        name: What is waited for, as the states' name.
        ask: State that asks, and selects nothing.
        done: Condition on the data that ends the loop.
        failed: Condition on the data under which it will never be so. Default: none.
        failure: State for that. Default: none.
        meanwhile: State that does something about it, each time. Default: none.
        counter: Counter of the questions; several loops can share one.
        seconds: Pause between two questions.
        tries: How often it asks.
        too_late: What is said when that is not enough, without quotation marks and braces.
        then: The state after the loop.
    """
    answered, acting, pause, counted = (
        f"{name}?",
        f"{name}: meanwhile",
        f"{name}: pause",
        f"{name}: count",
    )
    late, never = f"{name}: too late", f"{name}: failed"
    count = f"$.{counter}.Count"
    to_pause = pause if meanwhile is None else acting
    states: States = {
        name: {**ask, "Next": answered, "Catch": [_unanswered(pause)]},
        answered: {
            "Type": "Choice",
            "Choices": [
                {**done, "Next": then},
                *([{**failed, "Next": never}] if failed is not None else []),
            ],
            "Default": to_pause,
        },
        pause: {"Type": "Wait", "Seconds": seconds, "Next": counted},
        counted: {
            "Type": "Pass",
            "Parameters": {"Count.$": f"States.MathAdd({count}, 1)"},
            "ResultPath": f"$.{counter}",
            "Next": f"{name}: in time?",
        },
        f"{name}: in time?": {
            "Type": "Choice",
            "Choices": [{"Variable": count, "NumericLessThan": tries, "Next": name}],
            "Default": late,
        },
        late: {
            "Type": "Fail",
            "Error": "TooLate",
            "CausePath": f"States.Format('{too_late} Last error of a call: {{}}', "
            f"States.JsonToString({TROUBLE}))",
        },
    }
    if failure is not None:
        states[never] = failure
    if meanwhile is not None:
        states[acting] = {**meanwhile, "Next": pause, "Catch": [_unanswered(pause)]}
    return states


def equals(path: str, value: str) -> dict[str, Any]:
    """Return the condition that the data has a text in a place.

    Args:
        path: The place.
        value: The text.
    """
    return {
        "And": [
            {"Variable": path, "IsPresent": True},
            {"Variable": path, "StringEquals": value},
        ]
    }


def none_of(path: str, *values: str) -> dict[str, Any]:
    """Return the condition that the data has none of several texts in a place.

    Args:
        path: The place.
        values: The texts.
    """
    return {"Not": {"Or": [{"Variable": path, "StringEquals": value} for value in values]}}


def _unanswered(then: str) -> dict[str, Any]:
    return {"ErrorEquals": ["States.ALL"], "ResultPath": TROUBLE, "Next": then}
