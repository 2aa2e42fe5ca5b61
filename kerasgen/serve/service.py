"""What both protocols do with a request: find the version, check the inputs, wait for the answer."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .batching import Arrays, Task
from .models import LoadedVersion, Models
from .refusal import invalid

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Limits:
    """How much one client may ask for.

    Attributes:
        bytes: of a request.
        pixels: of all pictures of a request, or values of a tensor that is not a picture.
        seconds: until a request must have its answer.
        waiting: requests in a version's queue.
        connections: requests and connections at a time, for each protocol.
    """

    bytes: int = 64 * 2**20
    pixels: int = 16 * 2**20
    seconds: float = 60.0
    waiting: int = 256
    connections: int = 256


@dataclass(frozen=True)
class Asked:
    """Which version a request names: a number, a label, or neither, for the highest."""

    model: str
    version: int | None = None
    label: str | None = None


class Service:
    """Answers requests from the models that are loaded.

    Args:
        models: where the versions are.
        limits: of each request.
    """

    def __init__(self, models: Models, limits: Limits):
        self.models, self.limits = models, limits

    def predict(
        self,
        asked: Asked,
        signature: str,
        read: Callable[[Any], Arrays],
        outputs: Iterable[str] = (),
        seconds: float | None = None,
    ) -> tuple[LoadedVersion, str, Arrays]:
        """Answer a request; returns the version and the signature that did, and the outputs.

        Args:
            asked: the model and its version.
            signature: its name; "" is `serving_default`.
            read: from the SignatureDef to checked inputs.
            outputs: the names that are wanted; all by default.
            seconds: that the client waits, if it says so.

        Raises:
            Refusal: the request can't be answered.
        """
        deadline = time.monotonic() + min(seconds or self.limits.seconds, self.limits.seconds)
        with self.models.use(asked.model, asked.version, asked.label) as version:
            name = signature or DEFAULT_SIGNATURE
            definition = version.signatures.get(name)
            if definition is None:
                known = ", ".join(version.signatures)
                raise invalid(f"{asked.model} has no signature {name!r}: choose one of {known}.")
            wanted = set(outputs) or set(definition.outputs)
            if not wanted <= set(definition.outputs):
                raise invalid(f"The signature {name!r} gives {', '.join(definition.outputs)}: ask for these.")
            found = version.run(_task(version, name, read(definition), deadline))
        return version, name, {key: value for key, value in found.items() if key in wanted}


def _task(version: LoadedVersion, signature: str, inputs: Arrays, deadline: float) -> Task:
    if not version.batchable[signature]:
        return Task(signature, inputs, 1, None, deadline)
    key = (signature, *(inputs[name].shape[1:] for name in sorted(inputs)))
    return Task(signature, inputs, len(next(iter(inputs.values()))), key, deadline)
