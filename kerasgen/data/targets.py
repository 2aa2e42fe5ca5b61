"""A folder of pictures that becomes another one: which file each becomes, and a bar that shows how far it is."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from kerasgen.data.png import CHANNELS
from kerasgen.data.reading import PictureHead
from kerasgen.data.scanning import READABLE, PictureFile, scan
from kerasgen.errors import UserError

_SUFFIXES = {"png": ".png", "tiff": ".tif", "npy": ".npy"}
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Translated:
    """What became of a folder.

    Attributes:
        written: the files, in the order of their names.
        skipped: the inputs that can't be read, or are too large for the memory.
    """

    written: tuple[Path, ...]
    skipped: tuple[Path, ...]


@dataclass(frozen=True)
class Targets:
    """What is to become of a folder.

    Attributes:
        pairs: each picture, and the file that it becomes.
        damaged: files that can't be read.
    """

    pairs: tuple[tuple[PictureFile, Path], ...]
    damaged: tuple[Path, ...]


def check_source(source: Path) -> None:
    """Raise `UserError` unless there is a folder, or a file."""
    advice = "give the folder of the pictures to translate, or one picture"
    if not os.path.exists(source):
        raise UserError(f"There is no folder {source}: {advice}.")
    if not (source.is_dir() or source.is_file()):
        raise UserError(f"{source} is neither a folder nor a picture's file: {advice}.")


def written_as(head: PictureHead, channels: int) -> tuple[str, np.dtype]:
    """Return the kind of file that a picture becomes, as `PictureHead.kind` has it, and the type of its numbers.

    A file as deep as the picture was, and of its kind; `.npy` where that can't hold so many channels.
    """
    if head.kind in ("tiff", "npy") or channels in (CHANNELS.values() if head.kind else (1, 3)):
        return head.kind, np.dtype(head.dtype)
    return "npy", np.dtype(head.dtype if head.kind else np.float32)


def targets(source: Path, output: Path, channels: int | None = None) -> Targets:
    """Return each picture of a folder, and the file that it becomes in another.

    Args:
        source: the folder of the pictures, or one picture.
        output: the other folder, which need not exist.
        channels: of what they become, written as `written_as` says; None makes PNG of 8 bits of all.

    Raises:
        UserError: the folder is missing, holds no picture or holds the output folder, or two pictures would become
            one file.
    """
    check_source(source)
    if source.resolve() in (output.resolve(), *output.resolve().parents):
        raise UserError(
            f"The output folder {output} is the input folder {source} or lies in it, where the next run would take "
            "it for input: choose one outside."
        )
    found = scan(source)
    if not found.files:
        what = "file" if source.is_file() else "folder"
        raise UserError(f"The {what} {source} holds no readable picture: give some in {READABLE}.")
    taken: dict[Path, PictureFile] = {}
    for file in found.files:
        kind = "" if channels is None else written_as(file.head, channels)[0]
        suffix = _SUFFIXES.get(kind, ".png")
        target = output.joinpath(*file.parts).with_suffix(suffix)
        if target in taken:
            raise UserError(f"{taken[target].path} and {file.path} would both become {target}: rename one of them.")
        taken[target] = file
    return Targets(tuple((file, target) for target, file in taken.items()), found.damaged)


def with_bar(items: Sequence[_Item]) -> Iterator[_Item]:
    """Go through the items, and show a bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("translating"), BarColumn(), MofNCompleteColumn(), TextColumn("pictures"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        yield from progress.track(items)
