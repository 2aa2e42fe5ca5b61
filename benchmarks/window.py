"""Lay the picture strips of the zoo beside each other: docs/pictures/window.png, on top of the README.

    python benchmarks/window.py

Run it again when a strip has changed or a preset has been trained: those in TRAINED go on top as soon as they exist.
"""

from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES, SAVED = ROOT / "docs" / "pictures", ROOT / "saved_models"
HEIGHT, GAP = 220, 8
# Presets whose whole strip is a row of its own.
TRAINED = ("sketch_to_emoji", "face_super_resolution")
# A file, and the pieces of it that stand under each other: left, upper, right, lower.
PANELS = (
    (SAVED / "vae_digits" / "strip.png", [(0, 0, 252, 202)]),
    (PICTURES / "task_denoising.png", [(0, 0, 182, 110), (0, 220, 182, 330)]),
    (PICTURES / "task_super_resolution_x2.png", [(0, 110, 182, 330)]),
    (PICTURES / "cyclegan_photo_dusk.png", [(0, 0, 134, 172)]),
    (PICTURES / "cyclegan_digits_ink.png", [(0, 0, 252, 140)]),
)


def panel(path: Path, boxes: list[tuple[int, int, int, int]]) -> Image.Image:
    """Pieces of a strip under each other, at the height of the row."""
    with Image.open(path) as strip:
        pieces = [strip.convert("RGB").crop(box) for box in boxes]
    return under_each_other(pieces, 0).resize(
        (round(pieces[0].width * HEIGHT / sum(p.height for p in pieces)), HEIGHT)
    )


def beside_each_other(pictures: list[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (sum(p.width + GAP for p in pictures) - GAP, HEIGHT), "white")
    left = 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width + GAP
    return whole


def under_each_other(pictures: list[Image.Image], gap: int = GAP) -> Image.Image:
    whole = Image.new("RGB", (max(p.width for p in pictures), sum(p.height + gap for p in pictures) - gap), "white")
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height + gap
    return whole


def main() -> None:
    row = beside_each_other([panel(*parts) for parts in PANELS])
    rows = []
    for name in TRAINED:
        path = SAVED / name / "strip.png"
        if path.exists():
            with Image.open(path) as strip:
                strip = strip.convert("RGB")
                rows.append(strip.resize((row.width, round(strip.height * row.width / strip.width))))
    under_each_other([*rows, row]).save(PICTURES / "window.png", optimize=True)


if __name__ == "__main__":
    main()
