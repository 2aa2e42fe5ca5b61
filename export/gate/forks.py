"""The parent's side of what forks in `runner.py`: several artifacts of one format, and one import of its runtime."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

RUNNER = Path(__file__).with_name("runner.py")
# TensorFlow's import takes seconds, an artifact's checks a fraction of one.
_IMPORTED: "ContextVar[dict[str, ImportedRuntime] | None]" = ContextVar("imported_runtimes", default=None)


@contextlib.contextmanager
def imported_once() -> Iterator[None]:
    """Let all fresh processes of a format in this block be forks of one that imported the runtime, and ran nothing.

    It is for several exports, and saves seconds for each. Within another such block it does nothing; neither does it
    outside of Linux, where a fork isn't safe.

    Example:
        from kerasgen.export import export_model

        network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        with imported_once():
            for variant in ("float32", "float16"):
                export_model(network, "saved_models/dense", "onnx", variant)
    """
    if _IMPORTED.get() is not None or sys.platform != "linux":
        yield
        return
    runtimes: dict[str, ImportedRuntime] = {}
    token = _IMPORTED.set(runtimes)
    try:
        yield
    finally:
        _IMPORTED.reset(token)
        for runtime in runtimes.values():
            runtime.close()


def imported_runtime(format_name: str, environment: Mapping[str, str]) -> "ImportedRuntime | None":
    """Return the process that forks for a format, started where it wasn't yet; None outside of `imported_once`."""
    runtimes = _IMPORTED.get()
    if runtimes is None:
        return None
    if format_name not in runtimes or not runtimes[format_name].alive():
        runtimes[format_name] = ImportedRuntime(format_name, environment)
    return runtimes[format_name]


class ImportedRuntime:
    """A process that has imported a format's runtime, and forks for each artifact."""

    def __init__(self, format_name: str, environment: Mapping[str, str]) -> None:
        self._asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(RUNNER), format_name, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def alive(self) -> bool:
        """Tell whether it still runs."""
        return self._process.poll() is None

    def fork(self, path: Path, threads: int, errors: BinaryIO, environment: Mapping[str, str]) -> "Fork":
        """Return a new process for an artifact.

        Raises:
            OSError: this process has ended, as after an import that failed.
        """
        # Absolute: this process stays in the folder that it was started in.
        asked = {"artifact": str(path.absolute()), "threads": threads, "environment": dict(environment)}
        return Fork(self._asking, json.dumps(asked).encode(), errors)

    def close(self) -> None:
        """End it."""
        self._asking.close()
        self._process.kill()
        self._process.wait()


class Fork:
    """A process of an artifact, with what `subprocess.Popen` has for one that was started."""

    def __init__(self, asking: socket.socket, message: bytes, errors: BinaryIO) -> None:
        requests, answers, status = os.pipe(), os.pipe(), os.pipe()
        try:
            socket.send_fds(asking, [message], [requests[0], answers[1], errors.fileno(), status[1]])
        except OSError:
            for end in (requests[1], answers[0], status[0]):
                os.close(end)
            raise
        finally:
            for end in (requests[0], answers[1], status[1]):
                os.close(end)
        self.stdin: BinaryIO = os.fdopen(requests[1], "wb")
        self.stdout: BinaryIO = os.fdopen(answers[0], "rb")
        self._status = os.fdopen(status[0])
        number = self._status.readline()
        if not number:
            self.stdin.close()
            self.stdout.close()
            self._status.close()
            raise BrokenPipeError("The process that forks has ended.")
        self.pid = int(number)
        self._code: int | None = None

    def wait(self) -> int:
        """Return how it ended: an exit code, or the negative number of a signal."""
        if self._code is None:
            with self._status:
                self._code = int(self._status.readline() or 1)
        return self._code

    def kill(self) -> None:
        """End it, if it still runs."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
