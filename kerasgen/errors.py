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
