"""What a client is told instead of an answer: one of gRPC's codes, and a sentence."""

_HTTP = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "INTERNAL": 500,
}


class Refusal(Exception):
    """A request that gets no answer.

    Attributes:
        code: the name of a gRPC status code.
        message: what was received, and what is needed.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http(self) -> int:
        """The HTTP status."""
        return _HTTP[self.code]


def invalid(message: str) -> Refusal:
    """Return a refusal for what a client can mend."""
    return Refusal("INVALID_ARGUMENT", message)
