"""Any image data set of TensorFlow Datasets, by name: CelebA, COCO, ImageNet, Places, cycle_gan and the rest.

TensorFlow Datasets is imported only when such a source is opened.
"""

import io
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kerasgen.data.reading import PictureError, open_picture, read_picture
from kerasgen.data.sources.source import Fit, Kind, Source, check_channels
from kerasgen.errors import UserError
from kerasgen.typing import Tensor

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

# Before a set is prepared, TensorFlow Datasets doesn't know its splits.
_SPLITS = {
    "celeb_a": ("train", "validation", "test"),
    "coco": ("train", "validation", "test"),
    "imagenet2012": ("train", "validation", "test"),
    "places365_small": ("train", "validation", "test"),
    "cycle_gan": ("trainA", "trainB", "testA", "testB"),
    "mnist": ("train", "test"),
    "fashion_mnist": ("train", "test"),
    "cifar10": ("train", "test"),
}
# Their test splits come without labels.
_WITHHELD = ("coco", "imagenet2012", "places365_small")
_RETRIES = 1


def open_split(
    argument: str, split: str, fit: Fit, channels: int | None, download: bool = False, data_dir: str | None = None
) -> Source:
    """Return a split of the data set `argument`, such as "celeb_a", "cycle_gan/horse2zebra:A" or "mnist".

    What stands behind a second colon is added to the split's name: "train" of "cycle_gan/horse2zebra:A" is
    "trainA". The split "test" of coco, imagenet2012 and places365_small is their "validation", because their own
    test splits have no labels; of a set without "test", it is "validation" too. Pictures are decoded and brought to
    their size as a folder's are (JPEG at a half, a quarter or an eighth of its size where that is enough); one that
    is smaller than a crop is enlarged to it.

    A label is the class (int32) of a set with classes, or 0/1 (float32, one for each name) where an example has
    several: CelebA's 40 attributes, the categories that are in a COCO picture.

    Args:
        argument: the set's name as its catalog writes it, with a configuration and a domain where it has them.
        split: of the set, or "train" and "test".
        fit: how a picture is brought to its size.
        channels: 1 for gray, 3 for RGB; the set's own by default.
        download: whether what isn't there may be downloaded and prepared.
        data_dir: where the prepared sets are; None takes TensorFlow Datasets' own, ~/tensorflow_datasets.

    Raises:
        UserError: there is no such set or split, it has no pictures, it isn't prepared, or the download failed.
    """
    check_channels(channels)
    name, _, part = argument.partition(":")
    builder = _builder(name, data_dir)
    _prepare(builder, name, download)
    features = builder.info.features
    if "image" not in features:
        raise UserError(
            f"The data set 'tfds:{name}' has no feature 'image', but {', '.join(features)}: choose a set of pictures."
        )
    own = features["image"].shape
    if fit.size is None and fit.rule in ("cut", "stretch"):
        if None in own[:2]:
            raise UserError(f"Pictures of 'tfds:{name}' have any size: say which is wanted, such as image_size=64.")
        fit = Fit(fit.rule, tuple(own[:2]))
    records = _records_of(builder, name, split, part)
    label_of, names = _labels(features)
    all_labels = None if label_of is None else lambda: np.stack([label_of(records[i]) for i in range(len(records))])
    return Source(len(records), _reader(records, label_of, fit, channels or own[-1] or 3), names, all_labels)


KIND = Kind(
    "any image set of TensorFlow Datasets: celeb_a, coco, imagenet2012, places365_small, cycle_gan/horse2zebra:A, …",
    open_split,
    usage=":NAME",
    takes=("download", "data_dir"),
)


def _builder(name: str, data_dir: str | None) -> "tfds.core.DatasetBuilder":
    with _quiet():
        import tensorflow_datasets as tfds

    try:
        with _quiet():
            return tfds.builder(name, data_dir=data_dir)
    except ValueError as error:  # the library's own text lists hundreds of names
        base, _, config = name.partition("/")
        if not config or base not in tfds.list_builders():
            raise UserError(
                f"TensorFlow Datasets has no image set {name!r}: write its name as its catalog does, such as "
                "tfds:celeb_a or tfds:cycle_gan/horse2zebra:A."
            ) from error
        known = [c.name for c in tfds.builder_cls(base).BUILDER_CONFIGS]
        raise UserError(
            f"The data set 'tfds:{base}' has no configuration {config!r}: choose one of {', '.join(known)}."
        ) from error


def _prepare(builder: "tfds.core.DatasetBuilder", name: str, download: bool) -> None:
    """Make sure that the set is on disk, or say in one sentence why it isn't and what to do."""
    with _quiet():
        prepared = builder.is_prepared()
    if prepared:
        return
    manual = (getattr(builder, "MANUAL_DOWNLOAD_INSTRUCTIONS", None) or "").strip()
    if not download:
        where = "" if manual else f" in {builder._data_dir_root}"
        ask = f"{_by_hand(builder, manual)}, then " if manual else ""
        raise UserError(
            f"The data set 'tfds:{name}' is not prepared{where}: {ask}ask for it with --download (download=True), "
            "name another --data-dir, or take pictures of your own with folder:PATH."
        )
    try:
        with _quiet(), _few_retries():
            builder.download_and_prepare()
    except Exception as error:
        raise UserError(_why(error, builder, name, manual)) from error


def _why(error: Exception, builder: "tfds.core.DatasetBuilder", name: str, manual: str) -> str:
    """Return what went wrong with a download, in one sentence."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    instead = "or take pictures of your own with folder:PATH"
    if kind == "AssertionError" and manual:
        return (
            f"The data set 'tfds:{name}' must be downloaded by hand: {_by_hand(builder, manual)}, and ask again, "
            f"{instead}."
        )
    if kind == "NonMatchingChecksumError":
        drive = "drive.google" in text or "drive" in text.lower()
        cause = (
            "Google Drive sent a page about its download quota instead of the file"
            if drive
            else "the file at its address has changed, or the download was cut off"
        )
        return (
            f"The download of 'tfds:{name}' has another checksum than expected: {cause}; try again tomorrow, put the "
            f"files into {_downloads(builder)}/manual by hand, {instead}."
        )
    if kind in ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout", "MaxRetryError", "URLError"):
        return (
            f"The data set 'tfds:{name}' can't be downloaded, because its server can't be reached: connect to the "
            f"network, copy the prepared set to {builder.data_path}, {instead}."
        )
    return (
        f"The data set 'tfds:{name}' can't be prepared ({kind}: {text[:200]}): mend that, copy the prepared set to "
        f"{builder.data_path}, {instead}."
    )


def _by_hand(builder: "tfds.core.DatasetBuilder", manual: str) -> str:
    said = " ".join(manual.split())
    return f"put its files into {_downloads(builder)}/manual ({said if len(said) <= 100 else f'{said[:99]}…'})"


def _downloads(builder: "tfds.core.DatasetBuilder") -> Path:
    return Path(builder._data_dir_root) / "downloads"


def _records_of(builder: "tfds.core.DatasetBuilder", name: str, split: str, part: str) -> "_Records":
    """Return a split's examples; of a set that has but one, a tenth is held out."""
    only = tuple(builder.info.splits or ()) == ("train" + part,)
    if not only or split not in ("train", "val", "test"):
        return _records(builder, name, _split_name(builder, name, split, part))
    whole = _records(builder, name, "train" + part)
    return _Part(whole, [i for i in range(len(whole)) if (i % 10 == 9) == (split != "train")])


def _split_name(builder: "tfds.core.DatasetBuilder", name: str, split: str, part: str) -> str:
    base = name.split("/")[0].split(":")[0]
    known = tuple(builder.info.splits or ()) or _SPLITS.get(base, ())
    if split == "val":
        split = "validation" if "validation" + part in known else "test"
    wanted = split + part
    if split == "test" and not part and (base in _WITHHELD or (known and "test" not in known)):
        wanted = "validation"
    if known and wanted not in known:
        parts = sorted({k.removeprefix("train") for k in known if k.startswith("train")} - {""})
        remedy = f"write tfds:{name}:{parts[0]} or tfds:{name}:{parts[-1]}" if parts else "choose one of these"
        raise UserError(
            f"The data set 'tfds:{name}' has no split {wanted!r}, but {', '.join(map(repr, known))}: {remedy}."
        )
    return wanted


def _records(builder: "tfds.core.DatasetBuilder", name: str, split: str) -> "_Records":
    """Random access to a split's examples, their pictures still encoded."""
    import tensorflow_datasets as tfds

    decoders = {"image": tfds.decode.SkipDecoding()}
    try:
        with _quiet():
            return builder.as_data_source(split=split, decoders=decoders)
    except NotImplementedError as error:
        # A format without random access: what TFRecord lacks, `_TfRecords` brings.
        if builder.info.file_format.value != "tfrecord":
            raise UserError(
                f"The data set 'tfds:{name}' is prepared as {builder.info.file_format.value}, in which no example "
                "can be reached by its number: prepare it anew in another --data-dir with --download."
            ) from error
    return _TfRecords([str(path) for path in builder.info.splits[split].filepaths], builder.info.features, decoders)


class _Records(Protocol):
    """Examples by their number."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> dict[str, Tensor]: ...


class _Part:
    """Some of the examples of another."""

    def __init__(self, whole: _Records, places: list[int]):
        self._whole, self._places = whole, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self._whole[self._places[index]]


class _TfRecords:
    """Random access to TFRecord files: a scan of the records' headers finds where each begins."""

    def __init__(
        self, paths: list[str], features: "tfds.features.FeaturesDict", decoders: "dict[str, tfds.decode.Decoder]"
    ):
        self._paths, self._features, self._decoders = paths, features, decoders
        places = [(p, start, size) for p, path in enumerate(paths) for start, size in _scan(path)]
        self._places = np.array(places, np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        path, start, size = self._places[index]
        with open(self._paths[path], "rb") as file:
            file.seek(start)
            content = file.read(size)
        return self._features.deserialize_example_np(content, decoders=self._decoders)


def _scan(path: str) -> Iterator[tuple[int, int]]:
    """Start and size of each record: 8 bytes of length, 4 of checksum, the record, 4 of checksum."""
    with open(path, "rb") as file:
        while len(header := file.read(12)) == 12:
            (size,) = struct.unpack("<Q", header[:8])
            yield file.tell(), size
            file.seek(size + 4, io.SEEK_CUR)


def _labels(
    features: "tfds.features.FeaturesDict",
) -> tuple[Callable[[dict[str, Tensor]], np.ndarray | np.generic] | None, tuple[str, ...]]:
    """Return a function from an example to its label, or None, and the labels' names."""
    import tensorflow_datasets as tfds

    if "label" in features and isinstance(features["label"], tfds.features.ClassLabel):
        return lambda example: np.int32(example["label"]), tuple(features["label"].names)
    if "attributes" in features:
        names = tuple(features["attributes"])
        return lambda example: np.asarray([example["attributes"][n] for n in names], np.float32), names
    if "objects" in features:
        feature = features["objects"]
        inner = feature.feature if hasattr(feature, "feature") else feature
        if "label" not in inner or not isinstance(inner["label"], tfds.features.ClassLabel):
            return None, ()
        names = tuple(inner["label"].names)

        def present(example: dict[str, Tensor]) -> np.ndarray:
            vector = np.zeros(len(names), np.float32)
            vector[np.asarray(example["objects"]["label"], int)] = 1.0
            return vector

        return present, names
    return None, ()


def _reader(
    records: "_Records", label_of: Callable | None, fit: Fit, channels: int
) -> Callable[[Tensor], dict[str, Tensor]]:
    import tensorflow as tf

    probe = np.float32(0) if label_of is None else label_of(records[0])

    def read(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray | np.generic]:
        for attempt in range(len(records)):
            example = records[(int(wanted) + attempt) % len(records)]
            try:
                file = io.BytesIO(_encoded(example["image"]))
                image = read_picture(file, _large_enough(file, fit), channels)
            except PictureError as error:
                message = f"Example {int(wanted) + attempt} is damaged, and the next takes its place: {error}"
                warnings.warn(message, stacklevel=2)
                continue
            return image, probe if label_of is None else label_of(example)
        raise UserError("No picture of the data set can be read: prepare it anew.")

    def example(wanted: tf.Tensor) -> dict[str, tf.Tensor]:
        # Not stateful: else TensorFlow's deterministic mode would decode one picture after the other.
        image, label = tf.numpy_function(read, [wanted], (tf.uint8, probe.dtype), stateful=False)
        image = tf.ensure_shape(image, (*fit.shape, channels))
        found = {"image": tf.cast(image, tf.float32) / 255.0}
        return found if label_of is None else {**found, "label": tf.ensure_shape(label, np.shape(probe))}

    return example


def _large_enough(file: io.BytesIO, fit: Fit) -> Fit:
    """Return a way to fit that enlarges the few pictures of a set that are smaller than the crop."""
    if fit.rule == "natural":
        with open_picture(file) as image:
            small = min(image.size) < max(fit.wanted)
        file.seek(0)
        if small:
            return Fit("cut", fit.size)
    return fit


def _encoded(image: Tensor) -> bytes:
    image = image.item() if isinstance(image, np.ndarray) else image
    return image if isinstance(image, bytes) else bytes(image)


@contextmanager
def _few_retries() -> Iterator[None]:
    """Without a network, ten retries of each file take minutes."""
    from tensorflow_datasets.core.download import downloader

    former, downloader.MAX_RETRIES = downloader.MAX_RETRIES, _RETRIES
    try:
        yield
    finally:
        downloader.MAX_RETRIES = former


@contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow Datasets logs warnings about its own code, and warns of deprecations."""
    import logging

    loggers = [logging.getLogger(name) for name in ("absl", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
