"""A Python that has imported TensorFlow and Keras, and forks for each program: for tests of more than the start.

python tests/warm.py SOCKET
"""

import contextlib
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from kerasgen.export.gate.forks import Fork
from kerasgen.export.gate.runner import fork_for_each


class WarmPython:
    """What `python` runs, without waiting for TensorFlow's import: each program in a process of its own."""

    def __init__(self, asking: socket.socket) -> None:
        self._asking = asking

    def start(
        self,
        *arguments: object,
        cwd: str | os.PathLike = ".",
        env: Mapping[str, str] = os.environ,
        errors: object = subprocess.DEVNULL,
        silent: bool = False,
    ) -> Fork:
        """Start `python ARGUMENTS`: options -W, then -m NAME, -c CODE or a file, then its own arguments.

        Args:
            cwd: where it runs.
            env: its environment.
            errors: the file of its standard error.
            silent: whether its output is thrown away, not given in `stdout`.
        """
        asked = {"argv": [*map(str, arguments)], "cwd": os.path.abspath(cwd), "environment": dict(env)}
        with open(os.devnull, "wb") as nowhere:
            kept = nowhere if errors == subprocess.DEVNULL else errors
            process = Fork(self._asking, json.dumps(asked | {"silent": silent}).encode(), kept)
        if silent:
            process.stdin.close()
            process.stdout.close()
        return process

    def run(self, *arguments: object, seconds: float = 600.0, **options: object) -> subprocess.CompletedProcess:
        """Run `python ARGUMENTS`, for so many seconds at most; its output and its errors are text."""
        with tempfile.TemporaryFile() as errors:
            process = self.start(*arguments, errors=errors, **options)
            process.stdin.close()
            late = threading.Timer(seconds, process.kill)
            late.start()
            with process.stdout as output:
                said = output.read().decode()
            code = process.wait()
            late.cancel()
            errors.seek(0)
            return subprocess.CompletedProcess(arguments, code, said, errors.read().decode())


@contextlib.contextmanager
def warm_python() -> Iterator[WarmPython]:
    """Import once, and fork as long as the block runs."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with ours:
        with theirs:
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], **quiet)
        try:
            python = WarmPython(ours)
            python.run("-c", "")  # nobody waits for the imports later, who measures
            yield python
        finally:
            process.kill()
            process.wait()


def serve(asked: dict) -> None:
    os.chdir(asked["cwd"])
    if asked["silent"]:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
    # A text stream remembers whether its file could seek: these are other files now.
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    first, *rest = asked["argv"]
    while first == "-W":
        warnings.simplefilter(rest[0])
        first, *rest = rest[1:]
    if first == "-m":
        sys.argv, sys.path[:0] = rest, [asked["cwd"]]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv, sys.path[:0] = ["-c", *rest[1:]], [""]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[:0] = [first, *rest], [str(Path(first).parent)]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    import keras  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import tensorflow  # noqa: F401

    import kerasgen.data
    import kerasgen.models  # noqa: F401

    fork_for_each(serve, int(sys.argv[1]))
