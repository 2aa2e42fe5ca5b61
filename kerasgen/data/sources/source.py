"""What a source of images is, and how pictures of any size are brought to the one that is wanted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import numpy as np

from kerasgen import values
from kerasgen.errors import UserError
from kerasgen.typing import Tensor

Rule = Literal["cut", "stretch", "width", "natural", "fours"]


class Origin(TypedDict, total=False):
    """Where a "tfds:NAME" is had from; means nothing to other sources.

    Attributes:
        download: whether it may be downloaded and prepared.
        data_dir: where the sets are.
    """

    download: bool
    data_dir: str | None


@dataclass(frozen=True)
class Source:
    """Random access to the examples of one split.

    Attributes:
        count: how many examples there are.
        example: from an int64 scalar tensor in [0, count) to {"image": float32 [height, width, channels] in
            [0, 1] (, "label": int32, or float32 [k] of 0 and 1)}, in a TensorFlow graph.
        class_names: names of the labels; empty if there are none.
        labels: gives the labels of all examples, [count] or [count, k], without reading a picture; or None.
        names: of the examples, each different: a pair is two examples of one name. Empty where none has one.
        second_half: where the second half begins, if two domains are made of the source: no drawing is in both.
            None takes the middle.
        conditions: what else is known of each example, float32 [count, k] in [-1, 1] by name.
        sizes: (height, width) of the pictures as they are; empty where they are drawn at the size that is wanted.
        read: gives an example's picture as a float32 array, or raises `PictureError`; None where nothing can fail.
        drawn: whether the split was drawn by lot; the split "all" of such a source has the examples of all splits.
    """

    count: int
    example: Callable[[Tensor], dict[str, Tensor]]
    class_names: tuple[str, ...] = ()
    labels: Callable[[], np.ndarray] | None = None
    names: tuple[str, ...] = ()
    second_half: int | None = None
    conditions: Mapping[str, np.ndarray] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], ...] = ()
    read: Callable[[int], np.ndarray] | None = None
    drawn: bool = False


@dataclass(frozen=True)
class Fit:
    """How a picture of any size becomes the one that is wanted; sources that draw their own use only `size`.

    Attributes:
        rule: "cut" keeps the aspect and cuts out the middle, "stretch" doesn't keep it, "width" scales to the
            width of `size` and keeps the aspect, with a height divisible by 4; "natural" leaves the picture as it
            is, which must be no smaller than `size`; "fours" makes both sides divisible by 4 and no more.
        size: (height, width) in pixels, or None for the source's own.
    """

    rule: Rule = "cut"
    size: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int | None, int | None]:
        """(height, width) of the result, None where it depends on the picture."""
        if self.rule in ("cut", "stretch") and self.size is not None:
            return self.size
        return (None, self.wanted[1]) if self.rule == "width" else (None, None)

    @property
    def wanted(self) -> tuple[int, int]:
        """The size, where the rule needs one."""
        assert self.size is not None
        return self.size

    def place(self, width: int, height: int) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
        """Return the box (left, top, right, bottom) to take of a picture, and the (width, height) to resize it to."""
        whole = (0, 0, width, height)
        if self.rule == "natural":
            return whole, (width, height)
        if self.rule == "fours":
            return whole, (_fours(width), _fours(height))
        to_height, to_width = self.wanted
        if self.rule == "width":
            return whole, (to_width, _fours(height * to_width / width))
        if self.rule == "stretch":
            return whole, (to_width, to_height)
        scale = min(width / to_width, height / to_height)
        left, top = (width - scale * to_width) / 2, (height - scale * to_height) / 2
        return (left, top, left + scale * to_width, top + scale * to_height), (to_width, to_height)


def _fours(length: float) -> int:
    return max(4, round(length / 4) * 4)


@dataclass(frozen=True)
class Kind:
    """An entry of the registry.

    Attributes:
        description: one line for people.
        open_split: (argument, split, fit, channels) to a `Source`; raises `UserError`.
        usage: how the argument is written, such as ":PATH"; empty if there is none.
        base: name of the source of which this one shows the same, example by example, in another way.
        settle: gives the argument with all that had to be measured written down, for a run's configuration.
        takes: further keyword arguments of `open_split`: "download", "data_dir".
        facts: what may be told of a picture of one's own, by the name of a condition and a word: its numbers in
            [-1, 1].
    """

    description: str
    open_split: Callable[..., Source]
    usage: str = ""
    base: str | None = None
    settle: Callable[[str], str] = str
    takes: tuple[str, ...] = ()
    facts: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)


def picture_shape(example: Callable[[Tensor], dict[str, Tensor]]) -> Tensor:
    """Return the shape of the pictures that a source's `example` gives, as far as it is known; none is read."""
    import tensorflow as tf

    return tf.data.Dataset.range(1).map(example).element_spec["image"].shape


def check_split(source: str, split: str) -> None:
    """Raise `UserError` unless the split is "train", "val" or "test"; a source without a "val" gives its "test"."""
    if split not in ("train", "val", "test"):
        raise UserError(f"{source!r} has no split {split!r}: choose 'train', 'val' or 'test'.")


def check_channels(channels: int | None) -> None:
    """Raise `UserError` unless pictures can be read with that many channels."""
    if channels is not None and values.whole("channels", channels) not in (1, 3):
        raise UserError(f"channels is {channels}: pictures can be read with 1 (gray) or 3 (RGB).")


def check_switch(name: str, value: object) -> None:
    """Raise `UserError` unless it is true or false: any text would count as true."""
    if not isinstance(value, bool | np.bool_):
        raise UserError(f"{name} is {str(value)[:60]!r}: give True or False.")
