"""Features of pictures, in which distances between sets of them mean something."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.drawing import LUMA
from kerasgen.errors import UserError
from kerasgen.typing import Tensor
from kerasgen.untrusted import load_keras

if TYPE_CHECKING:
    import keras

_FOLDER = Path(__file__).parent / "classifiers"
# Sources whose drawings another source's classifier knows: it learned from OpenMoji, CC BY-SA 4.0.
_SHOWN_ALREADY = {"openmoji_attributes": "openmoji", "openmoji_lines": "openmoji"}
_BATCH = 256
_INCEPTION_SIDE = 299


@dataclass(frozen=True)
class Extractor:
    """From images [n, height, width, 1 or 3] in [0, 1] to what is compared.

    Attributes:
        name: to be said beside every number.
        features: float32 [n, d].
        classes: integers [n], the classifier's answers; None where it knows no classes of the data.
    """

    name: str
    features: Callable[[Tensor], np.ndarray]
    classes: Callable[[Tensor], np.ndarray] | None = None


def extractor_for(source: str, wanted: str = "auto") -> Extractor:
    """Return the feature extractor for pictures of a data source.

    Args:
        source: such as "digits".
        wanted: "auto" takes the small classifier that ships for this source, else InceptionV3; "inception" takes
            that; a path to a `.keras` classifier of images in [0, 1] takes the layer before its last.

    Raises:
        UserError: there is no such classifier, or Inception's weights can't be had.
    """
    if wanted == "auto" and (shipped := _shipped(source)):
        return _classifier(shipped, f"{shipped.stem}_classifier")
    if wanted in ("auto", "inception"):
        return _inception()
    if not Path(wanted).is_file():
        raise UserError(f"There is no classifier {wanted}: give 'auto', 'inception' or the path of a .keras file.")
    return _classifier(Path(wanted), f"classifier {Path(wanted).name}")


def _shipped(source: str) -> Path | None:
    """Return the file of the classifier that ships for a source, if one does."""
    name = source.partition(":")[0]
    file = _FOLDER / f"{_SHOWN_ALREADY.get(name, name)}.keras"
    return file if file.is_file() else None


_LUMA = np.array(LUMA, np.float32)[:, None]


def _classifier(path: Path, name: str) -> Extractor:
    import keras

    network = load_keras(path)
    try:
        before_last = keras.Model(network.inputs, network.layers[-1].input)
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} can't be read as a Keras classifier: save it again as a functional model."
        ) from error

    def run(images: Tensor, what: "keras.Model") -> np.ndarray:
        images = np.asarray(images, np.float32)
        if network.input_shape[-1] == 1 and images.shape[-1] == 3:
            images = images @ _LUMA  # the gray side of a translation comes in three channels
        height, width, channels = network.input_shape[1:]
        if channels == 3 and images.shape[-1] == 1:
            images = images.repeat(3, axis=-1)
        if images.shape[1:] != (height or images.shape[1], width or images.shape[2], channels):
            raise UserError(
                f"The pictures are {images.shape[1:]}, but the classifier {path.name} takes "
                f"{tuple(network.input_shape[1:])}: give features='inception', or a classifier of your own."
            )
        return what.predict(images, batch_size=_BATCH, verbose=0)

    return Extractor(
        name, lambda images: run(images, before_last), lambda images: run(images, network).argmax(axis=-1)
    )


def _inception() -> Extractor:
    """Keras' InceptionV3, which is not the network of published FIDs."""
    import keras
    import tensorflow as tf

    try:
        network = keras.applications.InceptionV3(include_top=False, pooling="avg")
    except Exception as error:  # keras.utils.get_file raises a bare Exception
        raise UserError(
            "The weights of keras.applications.InceptionV3 can't be downloaded here: put the file "
            "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5 into ~/.keras/models, or give --features "
            "CLASSIFIER.keras, a Keras classifier of such pictures."
        ) from error

    def features(images: Tensor) -> np.ndarray:
        images = np.asarray(images, np.float32)
        parts = []
        for i in range(0, len(images), 32):
            large = tf.image.resize(images[i : i + 32], (_INCEPTION_SIDE,) * 2, "bicubic", antialias=True)
            # Published pipelines see uint8 pictures.
            large = tf.round(tf.clip_by_value(large, 0, 1) * 255)
            large = tf.repeat(large, 3, axis=-1) if images.shape[-1] == 1 else large
            parts.append(network(large / 127.5 - 1, training=False).numpy())
        return np.concatenate(parts)

    return Extractor("fid_keras_inception", features)
