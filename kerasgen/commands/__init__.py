"""One file a command: what `kerasgen NAME` does, as functions that Python can call."""
