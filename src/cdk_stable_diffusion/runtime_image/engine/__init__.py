"""The engine: the only part that imports torch and diffusers. Runs as the agent's child."""
