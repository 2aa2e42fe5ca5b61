"""Photographs to train restoration on, and others to test it on, out of Debian's packages of wallpapers.

    python benchmarks/photographs.py FOLDER [--debs DEBS]

downloads the packages with `apt-get download` (or takes those of DEBS), halves each photograph, which removes the
camera's noise and JPEG's blocks, and writes squares: FOLDER/train, 128 pixels, drawn by lot, and FOLDER/test, the
256 pixels in the middle. Trained on are photographs under CC BY, CC BY-SA and CC0, and the pictures of kerasgen's own
source "pictures"; tested on are chelsea, china, and photographs that no training has seen and nobody ships.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

_LOMIRI = "usr/share/backgrounds"
_MATE = "usr/share/backgrounds/mate/nature"
_PLASMA = "usr/share/wallpapers/{}/contents/images/2560x1600.jpg"
# Package and file; the file's name has its author, and its license is in the package's copyright file.
TRAINING = {
    **{
        name: ("lomiri-wallpapers-16.04", f"{_LOMIRI}/{name}.jpg")
        for name in (
            "Bridge_by_Sander_Klootwijk", "Dragonfly_by_Bolly", "Picture_0B_by_freespace", "Picture_1A_by_freespace",
            "Wine_by_Jakkub_Mede", "aitzgorri_by_Aitzol_Berasategi", "free_by_Peter_Nerlich",
            "friends_by_Aitzol_Berasategi", "greentock_by_Peter_Nerlich", "life_by_Aitzol_Berasategi",
            "picosdeeuropa_by_Aitzol_Berasategi", "seeding_by_Clements_Engelhardt", "sunset_by_Aitzol_Berasategi",
        )
    },
    **{
        name: ("lomiri-wallpapers-20.04", f"{_LOMIRI}/{name}.jpg")
        for name in ("Infinite-Sea_by_Aury88", "Kleiber_by_Lukas_Baubkus")
    },
}  # fmt: skip
HELD_OUT = {
    **{
        name: ("mate-backgrounds", f"{_MATE}/{name}.jpg")
        for name in ("Blinds", "Dune", "LadyBird", "RainDrops", "Storm", "TwoWings")
    },
    **{
        name: ("plasma-workspace-wallpapers", _PLASMA.format(name))
        for name in (
            "BytheWater", "ColdRipple", "ColorfulCups", "DarkestHour", "EveningGlow", "FallenLeaf", "Kite",
            "OneStandsOut", "Path", "summer_1am",
        )
    },
}  # fmt: skip
_SQUARE, _OF_EACH, _OF_EACH_PICTURE, _TESTED = 128, 60, 25, 256
_LOT = 2026


def squares(image: Image.Image, count: int, lot: np.random.Generator) -> Iterator[Image.Image]:
    """Squares of a picture, anywhere in it."""
    for _ in range(count):
        left, top = (int(lot.integers(0, side - _SQUARE + 1)) for side in image.size)
        yield image.crop((left, top, left + _SQUARE, top + _SQUARE))


def middle(image: Image.Image, size: int) -> Image.Image:
    left, top = ((side - size) // 2 for side in image.size)
    return image.crop((left, top, left + size, top + size))


def halved(path: Path) -> Image.Image:
    with Image.open(path, formats=["JPEG"]) as image:
        return image.convert("RGB").reduce(2)


def extracted(debs: Path | None, folder: Path) -> Path:
    """Extract the packages; return the folder that holds a folder for each."""
    packages = sorted({package for package, _ in (TRAINING | HELD_OUT).values()})
    if debs is None:
        debs = folder / "debs"
        debs.mkdir()
        subprocess.run(["apt-get", "download", *packages], cwd=debs, check=True)
    for package in packages:
        (archive,) = debs.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(folder / package)], check=True)
    return folder


def write(target: Path, packages: Path) -> None:
    """Write the squares of both splits."""
    from kerasgen.data.sources import pictures

    lot = np.random.default_rng(_LOT)
    found = {name: (halved(packages / package / file), _OF_EACH) for name, (package, file) in TRAINING.items()}
    for name in pictures.TRAINING:
        found[name] = (Image.fromarray(pictures.picture(name)).convert("RGB"), _OF_EACH_PICTURE)
    for split in ("train", "test"):
        (target / split).mkdir(parents=True)
    for name, (image, count) in found.items():
        for i, square in enumerate(squares(image, count, lot)):
            square.save(target / "train" / f"{name}_{i:02d}.png")
    for name, (package, file) in HELD_OUT.items():
        middle(halved(packages / package / file), _TESTED).save(target / "test" / f"{name}.png")
    for name in pictures.TEST:
        middle(Image.fromarray(pictures.picture(name)).convert("RGB"), _TESTED).save(target / "test" / f"{name}.png")


def make(target: Path, debs: Path | None = None) -> None:
    """Write both splits into a folder that isn't there yet."""
    with tempfile.TemporaryDirectory() as folder:
        write(target, extracted(debs, Path(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--debs", type=Path, help="a folder with the packages, instead of a download")
    asked = parser.parse_args()
    make(asked.folder, asked.debs)
    counts = [len(list((asked.folder / split).iterdir())) for split in ("train", "test")]
    print(f"{counts[0]} squares to train on and {counts[1]} to test on: {asked.folder}")


if __name__ == "__main__":
    main()
