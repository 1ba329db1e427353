"""The queue agent: takes tasks, has pictures made of them, delivers the results.

    fetch: take a message, look for an earlier result, get the model's files
    GPU:   load the model and generate, in the engine's child process
    deliver: encode, store, announce, delete the message

Beside them, a watcher looks whether clients still want their tasks, and tells how far these are.
Every message in hand is kept from others by a heartbeat until it is deleted or given back.
"""
