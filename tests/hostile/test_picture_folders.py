"""Hostile pictures and folders of them: 41 folders, by three readers."""

import io
import os
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from .conftest import GOLDEN, Attack

GAN, RUN = str(GOLDEN / "cyclegan_run"), str(GOLDEN / "vae_run")
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n(x) run\n"


def encoded(format: str, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, format=format)
    return stream.getvalue()


def png(width: int, height: int, data: bytes = b"", depth: int = 8) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def tiff_of_endless_pages() -> bytes:
    """The second page says that it comes after itself."""
    tags = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: 16}

    def page(reduced: int, after: int) -> bytes:
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in {254: reduced, **tags}.items())
        return struct.pack("<H", 1 + len(tags)) + entries + struct.pack("<I", after)

    second = 8 + len(page(0, 0))
    return struct.pack("<2sHI", b"II", 42, 8) + page(0, second) + page(1, second)


def contents() -> Iterator[tuple[bytes, bytes]]:
    """Names and contents, none of which is a picture that can be read."""
    yield b"postscript.png", EPS
    yield b"postscript.jpg", EPS
    for format in ("PCX", "PPM", "ICO", "TGA", "SGI", "DDS"):
        yield f"{format}.png".encode(), encoded(format)
    for format in ("JPEG", "PNG", "WEBP", "BMP"):
        whole = encoded(format)
        yield f"cut{format}.png".encode(), whole[: len(whole) // 2]
        yield f"head{format}.png".encode(), whole[:20]
    yield b"text.png", b"hello"
    yield b"empty.png", b""
    yield b"large.png", png(20_000, 20_000)
    yield b"endless.png", png(2**31 - 1, 2**31 - 1)
    yield b"wide.png", png(2**31 - 1, 1)
    yield b"none.png", png(0, 0)
    yield b"deep.png", png(4, 4, depth=99)
    yield b"short.png", png(64, 64, bytes(10))
    yield b"line\nbreak.png", b"hello"
    yield b"\x1b[31mred\x1b[0m.png", b"hello"
    yield b"\xff\xfe\xfd.png", b"hello"
    yield b"\xe2\x80\xaeright-to-left.png", b"hello"
    yield b"[red]markup.png", b"hello"
    yield b"%s%n{}.png", b"hello"
    yield b"n" * 250 + b".png", b"hello"
    yield b"pages.tif", tiff_of_endless_pages()
    noise = random.Random(0).randbytes(5000)
    yield b"noise.png", b"\x89PNG\r\n\x1a\n" + noise
    yield b"noise.jpg", b"\xff\xd8\xff\xe0" + noise
    yield b"noise.webp", b"RIFF" + struct.pack("<I", 5000) + b"WEBP" + noise


def attacks() -> list[Attack]:
    def make(name: bytes, content: bytes):
        def write(folder: Path) -> None:
            (folder / "in").mkdir()
            (folder / "in" / os.fsdecode(name)).write_bytes(content)

        return write

    readers = (
        ("translate", GAN, "--input", "{}/in", "--output", "{}/out"),
        ("train", "vae_64", "--data", "folder:{}/in", "--output", "{}/out"),
        ("export", RUN, "--images", "{}/in", "--output", "{}/out", "--format", "onnx"),
    )
    found = [
        Attack(f"{readers[i % 3][0]}: {name[:40]!r}", readers[i % 3], make=make(name, content))
        for i, (name, content) in enumerate(contents())
    ]
    # The name that no text holds, by every reader.
    found += [Attack(f"{r[0]}: no text", r, make=make(b"\xff.png", b"hello")) for r in readers]

    def pipe(folder: Path) -> None:
        (folder / "in").mkdir()
        os.mkfifo(folder / "in" / "a.png")

    def linked(folder: Path) -> None:
        """Ten folders, each with links to all others: millions of paths."""
        inside = [folder / "in" / str(i) for i in range(10)]
        for own in inside:
            own.mkdir(parents=True)
            for other in inside:
                if other is not own:
                    (own / other.name).symlink_to(other)

    line = make(b"line.png", encoded("PNG", (99, 1)))
    others = {"pipe": pipe, "links": linked, "too small": line}
    return found + [Attack(name, readers[0], make=makes) for name, makes in others.items()]


@pytest.mark.slow
def test_each_gets_a_sentence(judged):
    tried = attacks()
    assert len(tried) >= 30
    faults = judged(tried)
    assert not faults, "\n".join(faults)
