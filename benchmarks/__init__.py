"""Measurements of the agent on an emulated AWS."""
