"""What both protocols do with a request: find the version, check the inputs, say what they cost."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.data.reading import PictureError
from kerasgen.values import number

from .batching import Arrays, Task
from .costs import row_count, row_pixels
from .memory import Memory
from .models import Models
from .pictures import upright
from .refusal import invalid
from .version import LoadedVersion

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Limits:
    """How much one client may ask for.

    Attributes:
        bytes: of a request; an answer may have four times as many.
        pixels: of all pictures of a request, or values of a tensor that is not a picture.
        memory: bytes that all requests together may take while they are read and while a network runs on them; what
            a network takes is measured when it is loaded.
        seconds: until a request must have its answer.
        head_seconds: until a client that connected, or had an answer, must have said what it wants.
        waiting: requests in a version's queue.
        connections: requests and connections at a time, for each protocol.
    """

    bytes: int = 64 * 2**20
    pixels: int = 16 * 2**20
    memory: int = 2 * 2**30
    seconds: float = 60.0
    head_seconds: float = 10.0
    waiting: int = 256
    connections: int = 256

    @classmethod
    def of(cls, megapixels: float, memory: float) -> "Limits":
        """Return limits from what a person says: millions of pixels, and GiB.

        Raises:
            UserError: one of them is not a number above 0.
        """
        megapixels = number("--megapixels", megapixels, above=0)
        memory = number("--memory", memory, above=0)
        return cls(pixels=int(megapixels * 2**20), memory=int(memory * 2**30))


@dataclass(frozen=True)
class Asked:
    """Which version a request names: a number, a label, or neither, for the highest."""

    model: str
    version: int | None = None
    label: str | None = None


class Service:
    """What requests share.

    Args:
        models: where the versions are.
        limits: of each request.
        memory: what all requests take from.
    """

    def __init__(self, models: Models, limits: Limits, memory: Memory):
        self.models, self.limits, self.memory = models, limits, memory

    def deadline(self, seconds: float | None = None) -> float:
        """Return when a request that begins now must have its answer, by `time.monotonic`."""
        return time.monotonic() + min(self.limits.seconds, seconds if seconds is not None else self.limits.seconds)

    def task(
        self, version: LoadedVersion, signature: str, read: "Callable[[SignatureDef], Arrays]", deadline: float
    ) -> Task:
        """Check a request; returns what the version's queue takes.

        Args:
            version: that answers.
            signature: its name; "" is `serving_default`.
            read: from the SignatureDef to checked inputs.
            deadline: by `time.monotonic`.

        Raises:
            Refusal: the request can't be answered.
        """
        name = signature or DEFAULT_SIGNATURE
        definition = version.signatures.get(name)
        if definition is None:
            known = ", ".join(version.signatures)
            raise invalid(f"{version.name} has no signature {name!r}: choose one of {known}.")
        inputs = read(definition)
        rows, cost = row_count(definition, inputs), version.costs[name]
        row_bytes = max(cost.of_row(pixels) for pixels in row_pixels(definition, inputs))
        batchable = version.batchable[name]
        self._check_memory(row_bytes if batchable else rows * row_bytes)
        for file_input in set(inputs) & set(version.channels):
            inputs[file_input] = _upright(file_input, inputs[file_input], version.channels[file_input])
        key = (name, *(inputs[n].shape[1:] for n in sorted(inputs))) if batchable else None
        return Task(name, inputs, rows, key, deadline, row_bytes)

    def _check_memory(self, size: float) -> None:
        if size > self.limits.memory:
            said = f"about {size / 2**30:.1f} GiB of memory, but {self.limits.memory / 2**30:.1f} GiB are lent"
            raise invalid(f"The request needs {said}: send smaller pictures, or start the server with more --memory.")


def _upright(name: str, files: np.ndarray, channels: int) -> np.ndarray:
    """Return picture files as TensorFlow needs them to give what `kerasgen translate` gives."""
    if files.ndim != 1:
        return files
    made = np.empty(len(files), object)
    for i, file in enumerate(files):
        try:
            made[i] = upright(file, channels)
        except PictureError as error:
            raise invalid(f"Number {i} of {name!r} ({len(file)} bytes) is damaged: {error}") from None
    return made
