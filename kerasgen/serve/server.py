"""The server: a folder of models behind a gRPC port and a REST port of 127.0.0.1."""

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from kerasgen.errors import UserError, require_extra
from kerasgen.export.formats.saved_model.operators import foreign_operators
from kerasgen.values import number, path, port

from .grpc_api import GrpcServer
from .memory import Memory
from .models import Models
from .rest_server import RestServer
from .service import Limits, Service
from .version import Queue

_MOST_ROWS = 16


def check_folder(base: str | os.PathLike) -> None:
    """Raise `UserError` unless there is a folder whose models could be served."""
    if not path("The folder of models", base).is_dir():
        raise UserError(f"There is no folder {base}: give the one that `kerasgen export --serving` wrote to.")


class Server:
    """Serves a folder of models for development; use it as a context manager, which stops it.

    It listens on 127.0.0.1 alone, has no authentication, and runs in this process. In production TensorFlow Serving
    serves the same folder.

    Args:
        base: `BASE/NAME/N/` are SavedModels; models.config says which are loaded, otherwise the highest of each.
        grpc_port, rest_port: 0 takes free ones.
        limits: of each request.
        batching: whether requests that wait together are run together.
        poll_seconds: between looks for new versions.
        threads: of TensorFlow, and batches at a time, for each version; the number of cores by default.
        trust: whether to run SavedModels whose operators don't only compute, such as those that write files.
        say: told what happens, a line at a time.

    Attributes:
        grpc_port, rest_port: the ports that it listens on.

    Raises:
        UserError: the extra [serving] is missing, there is no model that can be loaded, or a port is taken.
    """

    def __init__(
        self,
        base: str | os.PathLike,
        grpc_port: int = 8500,
        rest_port: int = 8501,
        *,
        limits: Limits | None = None,
        batching: bool = True,
        poll_seconds: float = 1.0,
        threads: int | None = None,
        trust: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ):
        require_extra("serving", "The server", "tensorflow_serving", "grpc", "starlette", "uvicorn")
        check_folder(base)
        port("--grpc-port", grpc_port)
        port("--rest-port", rest_port)
        number("poll_seconds", poll_seconds, above=0)
        limits = limits or Limits()
        memory = Memory(limits.memory)
        queue = Queue(_MOST_ROWS if batching else 1, limits.waiting, threads or _cores(), memory)
        self._models = Models(Path(base), queue, _anything if trust else _check_operators, _undisturbed(say))
        self._models.scan()
        if not self._models.names():
            why = self._models.why_none() or "make one with `kerasgen export --serving`"
            raise UserError(f"{base} holds no model that can be loaded: {why.rstrip('.')}.")
        self._poll, self._stop = poll_seconds, threading.Event()
        service = Service(self._models, limits, memory)
        with ExitStack() as undo:
            undo.callback(self._models.close)
            self._grpc = GrpcServer(service, grpc_port)
            undo.callback(self._grpc.stop, 0)
            self._rest = RestServer(service, rest_port)
            undo.pop_all()
        self.grpc_port, self.rest_port = self._grpc.port, self._rest.port
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self, ready: Callable[[], None] = lambda: None) -> None:
        """Return once a signal asks for an end: Ctrl-C, or SIGTERM, which ends a service.

        Args:
            ready: called as soon as such a signal is listened to.
        """
        import signal

        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, lambda *_: self._stop.set())
        ready()
        while not self._stop.wait(0.5):
            pass

    def stop(self) -> None:
        """Take no more requests, answer those that run, and give everything back."""
        self._stop.set()
        self._watcher.join()
        self._grpc.stop()
        self._rest.stop()
        self._models.close()

    def _watch(self) -> None:
        while not self._stop.wait(self._poll):
            self._models.scan()


def allow_many_files() -> None:
    """Let this process have as many connections as the system permits: gRPC closes idle ones after seconds only."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # Windows has none, and no such limit

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _undisturbed(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return `say` for threads that must go on although nobody reads any more what they say."""

    def try_to(line: str) -> None:
        with suppress(OSError, ValueError):
            say(line)

    return try_to


def _anything(path: Path) -> None:
    """Accept every version."""


def _check_operators(path: Path) -> None:
    """Raise `UserError` if a SavedModel would run what isn't known to only compute."""
    foreign = foreign_operators(path)
    if foreign:
        raise UserError(
            f"It holds {', '.join(foreign)}, which may read and write files or run other code: "
            "start with --trust if you know who made it."
        )


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
