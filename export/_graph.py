"""Questions to a network's TensorFlow graph before it is converted."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kerasgen.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from ._signature import Signature, TensorInfo


def trace(signature: "Signature", inputs: "dict[str, TensorInfo]") -> "tf.types.experimental.ConcreteFunction":
    """Return the network's graph for inputs of these shapes."""
    import tensorflow as tf

    specs = {name: tf.TensorSpec(info.shape, info.dtype, name=name) for name, info in inputs.items()}
    return tf.function(lambda tensors: signature.call(tensors), autograph=False).get_concrete_function(specs)


def refuse_randomness(signature: "Signature", inputs: "dict[str, TensorInfo]", format_name: str) -> None:
    """Raise `UserError` if the network draws random numbers: the format has no operator for it."""
    for operation in trace(signature, inputs).graph.get_operations():
        if "Random" in operation.type or "Multinomial" in operation.type:
            layer = "/".join(operation.name.split("/")[:-1]) or operation.name
            raise UserError(
                f"{signature.model.name!r} draws random numbers in {layer!r}, which {format_name} can't do: "
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
