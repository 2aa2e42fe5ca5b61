"""A folder of pictures that becomes another one: which file each becomes, and a bar that shows how far it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kerasgen.data.scanning import READABLE, scan
from kerasgen.errors import UserError


@dataclass(frozen=True)
class Translated:
    """What became of a folder.

    Attributes:
        written: the PNG files, in the order of their names.
        skipped: the inputs that can't be read, or are too large for the memory.
    """

    written: tuple[Path, ...]
    skipped: tuple[Path, ...]


def targets(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Each picture of a folder, and the PNG that it becomes in another.

    Raises:
        UserError: as `translate_folder` does of its folders.
    """
    if not source.is_dir():
        raise UserError(f"There is no folder {source}: give the folder of the pictures to translate.")
    if source.resolve() in (output.resolve(), *output.resolve().parents):
        raise UserError(
            f"The output folder {output} is the input folder {source} or lies in it, where the next run would take "
            "it for input: choose one outside."
        )
    files = scan(source).files
    if not files:
        raise UserError(f"The folder {source} holds no readable picture: put some there, in {READABLE}.")
    taken: dict[Path, Path] = {}
    for file in files:
        path, target = file.path, output.joinpath(*file.parts).with_suffix(".png")
        if target in taken:
            raise UserError(f"{taken[target]} and {path} would both become {target}: rename one of them.")
        taken[target] = path
    return [(path, target) for target, path in taken.items()]


def with_bar(items: list[tuple[Path, Path]]) -> Iterator[tuple[Path, Path]]:
    """Go through the items, and show a bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("translating"), BarColumn(), MofNCompleteColumn(), TextColumn("pictures"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        yield from progress.track(items)
