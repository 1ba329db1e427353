"""What runs in the runtime's container: the queue agent and its engine."""
