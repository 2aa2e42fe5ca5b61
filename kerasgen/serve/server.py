"""The server: a folder of models behind a gRPC port and a REST port of 127.0.0.1."""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasgen.errors import UserError, require_extra

from .grpc_api import start_grpc
from .models import Models
from .rest_api import application
from .service import Limits, Service

_MOST_ROWS = 16


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
        say: Callable[[str], None] = lambda line: None,
    ):
        require_extra("serving", "The server", "tensorflow_serving", "grpc", "starlette", "uvicorn")
        if not Path(base).is_dir():
            raise UserError(f"There is no folder {base}: give the one that `kerasgen export --serving` wrote to.")
        limits = limits or Limits()
        self._models = Models(Path(base), _MOST_ROWS if batching else 1, limits.waiting, threads or _cores(), say)
        self._models.scan()
        if not self._models.names():
            raise UserError(f"{base} holds no model that can be loaded: make one with `kerasgen export --serving`.")
        self._poll, self._limits = poll_seconds, limits
        self._stop = threading.Event()
        service = Service(self._models, limits)
        try:
            self._grpc, self.grpc_port = start_grpc(service, grpc_port)
            try:
                self._rest, self.rest_port, self._rest_thread = _start_rest(service, rest_port)
            except UserError:
                self._grpc.stop(None)
                raise
        except UserError:
            self._models.close()
            raise
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self) -> None:
        """Return once `stop` is asked for by a signal: Ctrl-C, or what ends a service."""
        import signal

        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, lambda *_: self._stop.set())
        while not self._stop.wait(0.5):
            pass

    def stop(self) -> None:
        """Take no more requests, answer those that run, and give everything back."""
        self._stop.set()
        self._watcher.join()
        stopped = self._grpc.stop(grace=5.0)
        self._rest.should_exit = True
        self._rest_thread.join()
        stopped.wait()
        self._models.close()

    def _watch(self) -> None:
        while not self._stop.wait(self._poll):
            self._models.scan()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_rest(service: Service, port: int) -> tuple[Any, int, threading.Thread]:
    import uvicorn

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)  # from here on a client waits instead of being refused
    except OSError as error:
        listener.close()
        raise UserError(f"Port {port} of 127.0.0.1 can't be had: choose another with --rest-port.") from error
    config = uvicorn.Config(
        application(service),
        log_level="error",
        access_log=False,
        lifespan="off",
        ws="none",
        limit_concurrency=service.limits.connections,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():  # its start would slow down the first requests
        time.sleep(0.01)
    return server, listener.getsockname()[1], thread
