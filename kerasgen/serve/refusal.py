"""What a client is told instead of an answer: one of gRPC's codes, and a sentence."""

from kerasgen.errors import sentence

_HTTP = {
    "INVALID_ARGUMENT": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 408,  # a client that doesn't finish what it began to say
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "INTERNAL": 500,
}


class Refusal(Exception):
    """A request that gets no answer.

    Attributes:
        code: the name of a gRPC status code.
        message: what was received, and what is needed: one line of bounded length, whatever a client brought into it.
    """

    def __init__(self, code: str, message: str):
        self.message = sentence(message)
        super().__init__(self.message)
        self.code = code

    @property
    def http(self) -> int:
        """The HTTP status."""
        return _HTTP[self.code]


def invalid(message: str) -> Refusal:
    """Return a refusal for what a client can mend."""
    return Refusal("INVALID_ARGUMENT", message)


def too_late() -> Refusal:
    """Return the refusal of a request whose time has run out."""
    return Refusal("DEADLINE_EXCEEDED", "The time for the request ran out: send smaller ones.")
