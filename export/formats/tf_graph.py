"""Questions to a network's TensorFlow graph before it is converted."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kerasgen.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf


def refuse_randomness(graph: "tf.Graph", network: str, format_name: str) -> None:
    """Raise `UserError` if a network's graph draws random numbers: the format has no operator for it."""
    for operation in graph.get_operations():
        if "Random" in operation.type or "Multinomial" in operation.type:
            layer = "/".join(operation.name.split("/")[:-1]) or operation.name
            raise UserError(
                f"{network!r} draws random numbers in {layer!r}, which {format_name} can't do: "
                "export the network that takes the latent code (a decoder), or the one that gives "
                "its mean and log variance (an encoder)."
            )


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keep the converters' chatter from the terminal: Python's log and what C++ prints on file 2."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(nowhere)
        os.close(saved)
        logger.setLevel(level)
