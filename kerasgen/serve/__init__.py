"""A development server that speaks TensorFlow Serving's protocols; in production, TensorFlow Serving itself serves.

It has a room of its own: it knows SavedModels and their versions, but neither Keras nor how a model became one.

    from kerasgen.serve import Server

    with Server("models", grpc_port=8500, rest_port=8501) as server:
        server.wait()
"""

from .server import Server, allow_many_files, check_folder
from .service import Limits

__all__ = ["Limits", "Server", "allow_many_files", "check_folder"]
