"""Which rows of its input a layer needs for some rows of its output, and which of what it gives are right."""

from collections.abc import Callable
from dataclasses import dataclass

from keras import ops

from kerasgen.typing import Tensor

Call = Callable[[list[Tensor]], Tensor]


@dataclass(frozen=True)
class Window:
    """The base, and what is true of one pixel alone: a row needs its own row.

    A layer runs on a strip as it runs on a picture. What it takes for the picture's border is wrong where the strip
    merely ends; the strip is so much higher that those rows can be cut off.
    """

    @property
    def reach(self) -> float:
        """Rows of the input on each side that a row of the output depends on, about."""
        return 0.0

    def needs(self, low: int, high: int, height: int) -> tuple[int, int]:
        """Return the rows of the input, of `height`, from which the rows [low, high) of the output are made."""
        return low, high

    def first(self, row: int) -> int:
        """Return which row of the output comes first when the layer runs on a strip from `row` on."""
        return row

    def run(self, call: Call, strips: list[Tensor], row: int, rows: tuple[int, int], height: int) -> Tensor:
        """Return the rows [low, high) of the output.

        Args:
            call: the layer.
            strips: the rows of its inputs that `needs` told, [1, n, width, channels]; and what has no rows.
            row: the first of them.
            rows: (low, high).
            height: of the whole input.
        """
        return cut(call(strips), self.first(row), rows)


def cut(strip: Tensor, first: int, rows: tuple[int, int]) -> Tensor:
    """Return the rows [low, high) of a strip that begins with the row `first`."""
    low, high = rows[0] - first, rows[1] - first
    return strip if (low, high) == (0, strip.shape[1]) else strip[:, low:high]


@dataclass(frozen=True)
class Sliding(Window):
    """A convolution or pooling; `kernel` counts dilation."""

    kernel: int
    stride: int
    same: bool

    @property
    def reach(self) -> float:
        return (self.kernel - 1) / 2

    def needs(self, low: int, high: int, height: int) -> tuple[int, int]:
        if not self.same:
            return low * self.stride, (high - 1) * self.stride + self.kernel
        outputs = -(-height // self.stride)
        top = max((outputs - 1) * self.stride + self.kernel - height, 0) // 2
        # TensorFlow pads by the remainder of the height: a strip of the same remainder, that begins where a stride
        # does, is padded as the whole.
        start = max(0, low * self.stride - top) // self.stride * self.stride
        end = min((high - 1) * self.stride - top + self.kernel, height)
        return start, end + (height - end) % self.stride

    def first(self, row: int) -> int:
        return row // self.stride


@dataclass(frozen=True)
class Transposed(Window):
    """A transposed convolution: input row i adds to the output rows from i · stride − top on."""

    kernel: int
    stride: int
    same: bool

    @property
    def reach(self) -> float:
        return max(self.kernel - self.stride, 0) / self.stride / 2

    def needs(self, low: int, high: int, height: int) -> tuple[int, int]:
        top = max(self.kernel - self.stride, 0) // 2 if self.same else 0
        start = -((self.kernel - 1 - low - top) // self.stride)
        end = (high - 1 + top) // self.stride + 1
        return min(start, low // self.stride), max(end, (high - 1) // self.stride + 1)

    def first(self, row: int) -> int:
        return row * self.stride


@dataclass(frozen=True)
class Enlarged(Window):
    """An enlargement by a whole factor that looks at `around` rows above and below."""

    factor: int
    around: int

    @property
    def reach(self) -> float:
        return self.around

    def needs(self, low: int, high: int, height: int) -> tuple[int, int]:
        return low // self.factor - self.around, (high - 1) // self.factor + 1 + self.around

    def first(self, row: int) -> int:
        return row * self.factor


@dataclass(frozen=True)
class Cropped(Window):
    """`top` rows are cut off; the call cuts columns only."""

    top: int

    def needs(self, low: int, high: int, height: int) -> tuple[int, int]:
        return low + self.top, high + self.top

    def first(self, row: int) -> int:
        return row - self.top


@dataclass(frozen=True)
class Padded(Window):
    """Rows and columns are added at the picture's border: zeros ("constant"), or mirrored without it or with it."""

    top: int
    left: int
    right: int
    mode: str

    def needs(self, low: int, high: int, height: int) -> tuple[int, int]:
        start, end = low - self.top, high - self.top
        mirror = {"reflect": 1, "symmetric": 0}.get(self.mode)
        if mirror is None:
            return min(start, height - 1), max(end, 1)
        above, below = max(0, -start), max(0, end - height)
        if above:
            end = max(end, above + mirror)
        if below:
            start = min(start, height - below - mirror)
        return start, end

    def run(self, call: Call, strips: list[Tensor], row: int, rows: tuple[int, int], height: int) -> Tensor:
        above, below = max(0, self.top - rows[0]), max(0, rows[1] - self.top - height)
        margins = [[0, 0], [above, below], [self.left, self.right], [0, 0]]
        return cut(ops.pad(strips[0], margins, mode=self.mode), row - above + self.top, rows)
