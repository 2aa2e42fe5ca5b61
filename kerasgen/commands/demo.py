"""A page on this machine to play with a trained model: translate, generate, move its latents, interpolate."""

import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kerasgen.commands.player import Player
from kerasgen.errors import UserError, require_extra

if TYPE_CHECKING:
    import gradio
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ADDRESS = "127.0.0.1"
# Gradio's own page is content with it; what it would like from elsewhere, such as fonts, the browser doesn't fetch.
_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"


def serve_demo(run: str | os.PathLike, port: int = 0, condition: Sequence[str] = ()) -> "tuple[gradio.Blocks, str]":
    """Serve a page for this machine alone, which asks nothing of any other.

    Args:
        run: a run folder, a .keras file, or a trained preset.
        port: of 127.0.0.1; 0 takes a free one.
        condition: what is known of all pictures to translate, such as "tone=dark".

    Returns:
        The running demo, whose `close()` ends it, and its address.

    Raises:
        UserError: the extra [demo] is missing, the model can't be played with, or the port is taken.
    """
    require_extra("demo", "The demo", "gradio")
    port = _free_port(port)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # is read when gradio is imported
    os.environ["HF_HUB_OFFLINE"] = "1"
    from starlette.middleware import Middleware

    from kerasgen.commands.demo_page import THEME, demo_page

    page = demo_page(Player(run, condition))
    try:
        page.launch(
            server_name=_ADDRESS,
            server_port=port,
            share=False,
            quiet=True,
            footer_links=[],
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            prevent_thread_lock=True,
            max_file_size="50mb",
            theme=THEME,
            app_kwargs={"middleware": [Middleware(_Policy)]},
        )
    except OSError as error:
        raise _taken(port) from error
    return page, f"http://{_ADDRESS}:{port}"


class _Policy:
    """Says with every answer that a browser asks this server alone."""

    def __init__(self, app: "ASGIApp"):
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def with_policy(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", _POLICY.encode())]
            await send(message)

        await self._app(scope, receive, with_policy)


def _free_port(wanted: int) -> int:
    """Return a port that is free, before the model takes its time to load."""
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, after one that has just ended
        try:
            free.bind((_ADDRESS, wanted))
        except OSError as error:
            raise _taken(wanted) from error
        return int(free.getsockname()[1])


def _taken(port: int) -> UserError:
    return UserError(f"Port {port} can't be had, because it is taken or reserved: give another --port, or 0 for any.")
