"""Drawings of the plots here: the planner draws its own with the same code."""

from cdk_stable_diffusion.planning.drawing import Drawing

__all__ = ["Drawing"]
