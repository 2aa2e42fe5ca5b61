"""The one exception for what a user can mend."""


class UserError(ValueError):
    """A user's mistake: one sentence that says what was received, what is needed and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


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
