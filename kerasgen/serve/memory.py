"""Memory that requests share: each says what it will take, and waits until so much is free."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .refusal import too_late


class Memory:
    """A number of bytes that are lent.

    Args:
        total: the bytes.
    """

    def __init__(self, total: int):
        self.total = total
        self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: float, deadline: float) -> Iterator[None]:
        """Hold so many bytes; who wants more than there are at all gets all of them, alone.

        Raises:
            Refusal: they weren't free until the deadline, by `time.monotonic`.
        """
        size = min(int(size), self.total)
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= size, max(0.0, deadline - time.monotonic())):
                raise too_late()
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
