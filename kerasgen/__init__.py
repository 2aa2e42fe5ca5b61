"""kerasgen: generative image models for Keras 3, and export that is proven equal.

The rooms are imported when used: `kerasgen.models`, `kerasgen.data`, `kerasgen.samplers`,
`kerasgen.export`, `kerasgen.networks`, `kerasgen.layers`, `kerasgen.losses`.
"""

import os

__version__ = "0.1.0"

# Only a default: a trained network (layers, losses, networks) runs under any Keras backend.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow takes oneDNN by itself only on processors with AVX-512. Without it, the gradients of convolutions of
# small images with many channels take ten times as long. Set before TensorFlow is imported, or it isn't read.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
