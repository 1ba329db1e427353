"""When an agent of lanes takes tasks before its GPU needs them, and what it leaves to others.

The simulation of `planning` follows the same rules with the same numbers. All times are in seconds.
"""

from __future__ import annotations

COUNT_SECONDS = 0.25
ROUND_SECONDS = 1.0
"""How often an agent counts others' lanes, and each of a few, while there was work lately.

Looking more often finds little: in the simulation, 2.5 times as many counts gave 2 % more pictures
to four replicas with ten models, and none to eight with a cache.
"""

LONGEST_GAP_SECONDS = 3.0
"""Longest between two counts, beyond the age for stealing, for what waits to be the same."""

SECONDS_TO_FIND = 2.0
"""How long, beyond the age at which it may be stolen, an idle agent needs to find a task."""

LEAST_AHEAD_SECONDS = 0.25
"""How long it takes to fetch a task and what it needs, but for the model."""

PASS_ON_AFTER_SECONDS = 0.5
"""What would not begin before is passed on to who is idle, which takes about a third of it."""

VERY_SOON_SECONDS = 1.0
"""A second task is worth holding only where tasks are shorter than it takes to fetch one."""

MOST_FROM_LANES = 10
LOADS_AHEAD = 3
"""How much more is held where no replica can be idle, so that a load serves more tasks of those
that wait in a lane with several models. From the simulation: 14 % fewer loads for four replicas and
ten models than with one, 10 % more pictures for eight and fifty with a cache."""

LEAST_SEEN_SECONDS = 4.0
LOADS_SEEN = 1.5
"""For how long it holds that no replica can be idle: a full hand takes nothing for a load."""

MOST_OTHER_MODELS = 3
"""So many to choose the next one from are enough; each more is kept from replicas that may be idle
before its turn comes."""
