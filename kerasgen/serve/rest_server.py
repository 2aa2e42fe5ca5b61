"""REST's port: a client that takes its time is cut off, and too many that say nothing make room for others."""

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from kerasgen.errors import UserError

from .rest_api import RestApi
from .service import Limits, Service

if TYPE_CHECKING:
    import uvicorn

_BACKLOG = 128  # connections that wait to be accepted, and are accepted at a time


class RestServer:
    """Serves the REST API in a thread of its own.

    Args:
        service: whose models are asked.
        port: of 127.0.0.1; 0 takes a free one.

    Attributes:
        port: that it listens on.

    Raises:
        UserError: the port is taken.
    """

    def __init__(self, service: Service, port: int):
        listener = _listener(port)
        self.port: int = listener.getsockname()[1]
        self._api = RestApi(service)
        self._server = _uvicorn(self._api, service.limits)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():  # its start would slow down the first requests
            time.sleep(0.01)

    def stop(self) -> None:
        """Take no more requests, answer those that run, and end the thread."""
        self._server.should_exit = True
        self._thread.join()
        self._api.close()


def _listener(port: int) -> socket.socket:
    # With its protocol named, which accepted sockets inherit: asyncio sends small answers at once (TCP_NODELAY)
    # only where it knows that the socket is TCP's; otherwise each waits 40 ms for the client's acknowledgment.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)  # from here on a client waits instead of being refused
    except OSError as error:
        listener.close()
        raise UserError(f"Port {port} of 127.0.0.1 can't be had: choose another with --rest-port.") from error
    return listener


def _uvicorn(api: RestApi, limits: Limits) -> "uvicorn.Server":
    import uvicorn

    config = uvicorn.Config(
        api,
        http=_patient_protocol(limits),
        log_config=None,  # its own would close the handlers that a program has for its log
        log_level="critical",  # a client's broken request is not the server's error
        access_log=False,
        lifespan="off",
        ws="none",
        backlog=_BACKLOG,
        timeout_graceful_shutdown=10,
    )
    return uvicorn.Server(config)


def _patient_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with a limit to its patience; made here because importing uvicorn takes its time."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Connection(H11Protocol):
        """A connection, with a clock that runs while the client has to say something.

        The head of a request must be complete in time, however it trickles; so must what is left of a body that was
        answered already. How long a body may take is the application's to say.
        """

        waiting: "dict[Connection, None]" = {}  # noqa: RUF012  # of one server, which has one thread; oldest first

        def __init__(self, *args: Any, **options: Any):
            super().__init__(*args, **options)
            self._clock: asyncio.TimerHandle | None = None
            self._awaited = ""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            self._look()
            if len(self.connections) > limits.connections and self.waiting:
                oldest = next(iter(self.waiting))
                oldest.wait_for("")
                oldest.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            self.wait_for("")
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._look()

        def on_response_complete(self) -> None:
            self._awaited = ""  # the clock of the next request starts now
            super().on_response_complete()
            self._look()

        def wait_for(self, awaited: str) -> None:
            """Start the clock for what the client has to say; "" stops it."""
            if self._clock:
                self._clock.cancel()
            self._clock, self._awaited = None, awaited
            self.waiting.pop(self, None)
            if awaited:
                self.waiting[self] = None
                if awaited != "body":
                    self._clock = self.loop.call_later(limits.head_seconds, self._cut_off)

        def _look(self) -> None:
            theirs, ours = self.conn.their_state, self.conn.our_state
            if self.transport.is_closing() or theirs not in (h11.IDLE, h11.SEND_BODY):
                awaited = ""
            elif theirs is h11.IDLE:
                awaited = "head"
            else:
                awaited = "rest" if ours is h11.DONE else "body"
            if awaited != self._awaited:
                self.wait_for(awaited)

        def _cut_off(self) -> None:
            self.wait_for("")
            if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0] and not self.transport.is_closing():
                self.send_400_response(f"The request's head wasn't complete after {limits.head_seconds:g} seconds.")
            self.transport.close()
            self.loop.call_later(limits.seconds, self.transport.abort)  # where the answer before isn't read either

    return Connection
