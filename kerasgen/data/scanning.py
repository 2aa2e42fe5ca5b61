"""Which pictures a folder holds: links followed, splits found, and what is left out said once."""

import functools
import os
import re
import unicodedata
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from kerasgen.data.reading import PictureError, PictureHead, read_head
from kerasgen.errors import UserError, sentence

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".npy")
READABLE = "jpg, png, bmp, webp, tiff or npy"
# What people call the folders of a split, in any case.
_SPLITS = {
    "train": ("trainval", "train_val", "train-val", "train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval", "evaluation"),
    "test": ("test", "testing", "holdout", "hold_out", "hold-out"),
}
# What they write behind such a word for some splits, and not for the others.
_SAYS_NOTHING = ("set", "dataset", "data", "split", "image", "images", "img", "imgs", "photos", "pictures")
_EDGE = r"(?:(?<![^\W\d_])|(?![^\W\d_])|(?<=[a-z])(?=[A-Z]))"  # of a word, as in seg_train, test2017 or trainA
_SPLIT_NAMES = {
    split: re.compile(rf"{_EDGE}(?i:(?:{'|'.join(words)})(?:{'|'.join(_SAYS_NOTHING)})?){_EDGE}")
    for split, words in _SPLITS.items()
}
_DOMAIN = re.compile(r"train[ _-]?[ab]")  # CycleGAN's own layout: trainA, trainB, testA, testB
_MOST_WAYS = 20  # to one folder: among folders that are linked to each other there are a number without end
_NAMED = 3  # so many of the files that can't be read are named, with what is wrong


@dataclass(frozen=True)
class PictureFile:
    """A picture that begins like one.

    Attributes:
        path: of the file.
        parts: of its place below the folder that was scanned, the file's name last.
        head: its size and depth.
    """

    path: Path
    parts: tuple[str, ...]
    head: PictureHead

    @property
    def folder(self) -> str | None:
        """The class folder that it lies in, or None."""
        return _composed(self.parts[0]) if len(self.parts) > 1 else None

    @property
    def name(self) -> str:
        """Its place, without the suffix: the name of its pair."""
        return _composed("/".join((*self.parts[:-1], self.parts[-1].rpartition(".")[0])))


@dataclass(frozen=True)
class Scan:
    """What a folder holds.

    Attributes:
        files: the pictures, in a fixed order.
        damaged: files of a picture's suffix that can't be read.
    """

    files: tuple[PictureFile, ...]
    damaged: tuple[Path, ...]


def scan(base: Path) -> Scan:
    """Look for pictures below a folder, and say in one warning what else lies there; or at one file.

    Links are followed; a link to a folder that it lies in is left out. Hidden files are passed over without a word.
    The warning comes again only when something in the folder has changed.
    """
    found, left_out = [], Counter[str]()
    places = [(base, (base.name,))] if base.is_file() else _walk(base, (), frozenset(), Counter(), left_out)
    for path, parts in places:
        if path.suffix.lower() in SUFFIXES:
            state = path.stat()
            found.append((path, parts, state.st_size, state.st_mtime_ns))
        else:
            left_out[path.suffix.lower() or "no suffix"] += 1
    return _checked(base, tuple(found), tuple(sorted(left_out.items())))


def splits_of(files: Sequence[PictureFile]) -> dict[str, list[PictureFile]]:
    """Return the files by "train", "val" and "test", where folders are called so; else nothing.

    Folders called train (or training, trainval), val (valid, validation, dev, eval, evaluation) and test (testing,
    holdout), in any case, with numbers, and with "set", "data", "images" or alike behind, are splits where one to
    train on stands beside another one. So are those that have the same words beside it, such as seg_train and
    seg_test, or train_HR and valid_HR. They may lie at the top, below folders that all files share, or in each class.
    Where there is nothing else at the top, folders with no other word are splits even alone. Pictures beside splits
    are left out.

    Raises:
        UserError: two folders would be one split, folders are the splits of several data sets, or they are the two
            domains of an unpaired training.
    """
    above = _shared([file.parts[:-1] for file in files])
    for level in (above, above + 1):
        beside = _folders(files, level)
        _check_domains(files, beside)
        if any({"train"} < set(_splits_among(folders).values()) for folders in beside.values()):
            return _by_split(files, level)
    splits = _splits_among(_folders(files, 0)[()])
    nothing_else = bool(files) and all(len(file.parts) > 1 and file.parts[0] in splits for file in files)
    return _by_split(files, 0) if nothing_else else {}


def _shared(places: Sequence[tuple[str, ...]]) -> int:
    """Return how many topmost folders all places share."""
    if not places:
        return 0
    first, last = min(places), max(places)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _splits_among(folders: Set[str]) -> dict[str, str]:
    """Return which split each is of the folders that stand beside each other, and leave out those that are none."""
    called = defaultdict[tuple[str, str], dict[str, str]](dict)
    for folder in folders:
        for beside, split in _readings(folder):
            called[beside][folder] = split
    plain = called.pop(("", ""), {})
    # Other words make a class, such as bullet_train or test_tube, unless several splits have the same.
    alike = [splits for splits in called.values() if {"train"} < set(splits.values())]
    if {"train"} < set(plain.values()) or not alike:
        return plain
    if len(alike) > 1:
        raise UserError(
            f"The folders {', '.join(sorted({folder for splits in alike for folder in splits}))} are the splits of "
            "several data sets: put those that you want into folders called train and test."
        )
    return alike[0]


def _readings(folder: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Give the words ahead and behind that a folder's name has, for each word in it that is a split's; and the split.

    Numbers and what says nothing don't count: 1_train, train2017 and "train images" are all train.
    """
    for split, name in _SPLIT_NAMES.items():
        for found in name.finditer(folder):
            ahead, behind = (
                [word for word in re.split(r"[\W\d_]+", part.lower()) if word]
                for part in (folder[: found.start()], folder[found.end() :])
            )
            yield (" ".join(ahead), " ".join(word for word in behind if word not in _SAYS_NOTHING)), split


def _folders(files: Sequence[PictureFile], level: int) -> dict[tuple[str, ...], set[str]]:
    """Return the names of the folders so many levels down, by the place where they stand beside each other."""
    beside = defaultdict(set)
    for file in files:
        if len(file.parts) > level + 1:
            beside[file.parts[:level]].add(file.parts[level])
    return beside


def _check_domains(files: Sequence[PictureFile], beside: dict[tuple[str, ...], set[str]]) -> None:
    for place, folders in beside.items():
        domains = sorted(folder for folder in folders if _DOMAIN.fullmatch(folder.lower()))
        if len(domains) > 1:
            base = files[0].path.parents[len(files[0].parts) - 1].joinpath(*place)
            raise UserError(
                f"The folders {' and '.join(domains)} are two domains, but were given as one source: give two, "
                f"folder:{base / domains[0]} and folder:{base / domains[1]}."
            )


def _by_split(files: Sequence[PictureFile], level: int) -> dict[str, list[PictureFile]]:
    """Return the files in folders of splits so many levels down, as if these folders weren't there."""
    beside = {place: _splits_among(folders) for place, folders in _folders(files, level).items()}
    for folders in beside.values():
        for split in _SPLITS:
            named = sorted(folder for folder, called in folders.items() if called == split)
            if len(named) > 1:
                raise UserError(
                    f"The folders {' and '.join(named)} would both be the split {split!r}: keep one, or rename what "
                    "is not a split."
                )
    splits = defaultdict(list)
    for file in files:
        if len(file.parts) > level + 1 and (called := beside[file.parts[:level]].get(file.parts[level])):
            splits[called].append(file)
    above = _shared([file.parts[:level] for part in splits.values() for file in part])
    return {split: _without(part, above, level) for split, part in sorted(splits.items())}


def _without(part: Sequence[PictureFile], above: int, level: int) -> list[PictureFile]:
    """Return a split's files without the folders that all splits share, and without the split's own."""
    # An archive's folder often holds nothing but another one of its name.
    doubled = all(file.parts[level] == file.parts[level + 1] and len(file.parts) > level + 2 for file in part)
    inside = level + 2 if doubled else level + 1
    return [PictureFile(f.path, f.parts[above:level] + f.parts[inside:], f.head) for f in part]


def _composed(name: str) -> str:
    """Return a name as other systems write it: the Mac's has each umlaut as a letter and its dots."""
    return unicodedata.normalize("NFC", name)


def drawn(keys: Sequence[str]) -> set[str]:
    """Return a tenth of the keys, one at least of two, by their checksums: more keys later move few of them."""
    by_checksum = sorted(keys, key=lambda key: zlib.crc32(os.fsencode(key)))
    return set(by_checksum[: max(1, len(keys) // 10) if len(keys) > 1 else 0])


def _walk(
    folder: Path, parts: tuple[str, ...], above: frozenset[tuple[int, int]], entered: Counter, left_out: Counter
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Go through the files below a folder, in the order of their places."""
    state = folder.stat()
    identity = (state.st_dev, state.st_ino)
    if identity in above:
        left_out["a link to a folder that it lies in"] += 1
        return
    entered[identity] += 1
    if entered[identity] > _MOST_WAYS:
        left_out["a folder that many links lead to"] += 1
        return
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except PermissionError:
        left_out["a folder that may not be opened"] += 1
        return
    for entry in ordered:
        # The Mac leaves files such as ._cat.jpg that are not pictures.
        if entry.name.startswith("."):
            continue
        place = (*parts, entry.name)
        # Not the entry's own methods: they raise over a link to itself.
        if os.path.isdir(entry.path):
            yield from _walk(folder / entry.name, place, above | {identity}, entered, left_out)
        elif os.path.isfile(entry.path):
            yield folder / entry.name, place
        else:
            left_out["a broken link or not a file"] += 1


@functools.lru_cache(maxsize=64)
def _checked(
    base: Path, found: tuple[tuple[Path, tuple[str, ...], int, int], ...], left_out: tuple[tuple[str, int], ...]
) -> Scan:
    """Read the heads. The cache is why a folder is neither read nor warned about twice."""
    files, faults = [], {}
    for path, parts, *_ in found:
        try:
            files.append(PictureFile(path, parts, read_head(path)))
        except PictureError as error:
            faults[path] = str(error)
    if faults or left_out:
        _warn(base, len(found) + sum(count for _, count in left_out), faults, left_out)
    return Scan(tuple(files), tuple(faults))


def _warn(base: Path, total: int, faults: dict[Path, str], left_out: tuple[tuple[str, int], ...]) -> None:
    count = len(faults) + sum(n for _, n in left_out)
    kinds = ", ".join(f"{n} × {kind}" for kind, n in left_out)
    said = [f"of another kind ({kinds})"] if kinds else []
    if faults:
        named = " ".join(list(faults.values())[:_NAMED])
        more = f" And {len(faults) - _NAMED} more." if len(faults) > _NAMED else ""
        said.append(f"{len(faults)} unreadable: {named}{more}")
    # Three levels up is who asked for the scan.
    warnings.warn(sentence(f"{base}: {count} of {total} files are left out; {'; '.join(said)}"), stacklevel=4)
