"""TensorFlow's import, which commands put off until their arguments are checked."""

import os
import sys


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that its C++ side writes before any log level counts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401

    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
