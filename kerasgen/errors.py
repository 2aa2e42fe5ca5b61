"""The one exception for what a user can mend, and how what came from outside is quoted in a sentence."""

import re
import zipfile

LONGEST = 390  # characters of a sentence; with "Error: " before it, a terminal's few lines


class UserError(ValueError):
    """A user's mistake: one sentence that says what was received, what is needed and what to do.

    The command line prints it without a traceback and exits with code 2. What a file or a name brings into it can
    neither make it long nor move the cursor: see `sentence`.
    """

    exit_code = 2

    def __init__(self, message: str):
        super().__init__(sentence(message))


class Stopped(UserError):
    """The process was asked to end by a signal, and says how to go on."""

    exit_code = 128 + 15  # as shells count it

    def __init__(self, message: str, number: int = 15):
        super().__init__(message)
        self.exit_code = 128 + number


def sentence(message: object) -> str:
    """Return a message on one line that any terminal can print, of at most `LONGEST` characters.

    Escapes stand for what is not printable, such as a newline, a terminal's escape or half a character in a file's
    name. Of a long message the middle is left out: the beginning says what it is about, the end what to do.
    """
    text = str(message)
    if len(text) > LONGEST:  # before the escapes too: the text may be a gigabyte
        text = f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 + 1 :]}"
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 + 1 :]}"


def reason(error: BaseException) -> str:
    """Return what an exception of somebody else's library says, on one short line: its first, or its name.

    The colors that it has for a terminal are left out.
    """
    if isinstance(error, zipfile.BadZipFile | EOFError):
        return "it is damaged, or not all of it is there"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the number and the path
    text = re.sub(r"\x1b\[[\d;]*m", "", str(error)[:2000])
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if " " not in first:  # a key, a number, or nothing
        first = f"{type(error).__name__} {first}".strip()
    return (first if len(first) <= 120 else f"{first[:119]}…").rstrip(".")


def a_kind(value: object) -> str:
    """Return the name of a class, or of a value's class, with its article.

    Example:
        a_kind(1.5) == "a float"
    """
    name = value.__name__ if isinstance(value, type) else type(value).__name__
    return f"an {name}" if name.startswith(("A", "E", "I", "O", "Up", "i", "o")) else f"a {name}"


def require_tensorflow(what: str) -> None:
    """Raise `UserError` unless Keras runs on TensorFlow; `what` is the subject, such as "Training"."""
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise UserError(
            f"{what} needs Keras' TensorFlow backend, but the backend is {backend!r}: "
            "set the environment variable KERAS_BACKEND=tensorflow before Python starts."
        )


def require_extra(extra: str, what: str, *modules: str) -> None:
    """Raise `UserError` unless the modules of an extra are installed; `what` is the subject, such as "Serving"."""
    import importlib.util

    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(f"{what} needs {', '.join(missing)}: run pip install 'kerasgen[{extra}]'.")
