"""What `gpu.py` needs, for a machine without network and without TensorFlow: packed here, put together there.

    python benchmarks/gpu_bundle.py pack FOLDER [--python 3.12] [--piece-mib 60] [--without NAME ...] [--cpu]
                                                [--capability 90] [--also REQUIREMENT ...]
    python gpu_bundle.py unpack FOLDER TARGET [--cuda SITE_PACKAGES ...]
    source TARGET/env.sh && python benchmarks/gpu.py

`pack` downloads wheels for that Python on x86-64 Linux with pip, adds kerasgen's own, and leaves out the packages
that the machine has, headers, and of CUDA's compiler what XLA doesn't run. `--capability` blanks the kernels of other
cards (90 is an H100's), and `strip`, where it is installed, takes the symbols. It writes pieces of at most so many
MiB, and bundle.json with their SHA-256 sums. The pieces are xz, because Python's standard library reads it on every
machine; zstd unpacks faster, but is in it from 3.14 on only.

`unpack` needs this file and the standard library alone: neither pip nor a compressor. It refuses a piece whose sum
differs, and writes TARGET/site for PYTHONPATH. CUDA libraries of another version that are there already (cuBLAS,
cuDNN, cuFFT, cuSOLVER, cuSPARSE, NCCL, as the packages nvidia-*) are offered to TensorFlow by links in TARGET/cuda,
under the names that it opens. cudart, CUPTI and XLA's compiler are part of the bundle: each CUDA has its own.
"""

import argparse
import hashlib
import json
import lzma
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
NEEDED = (
    "tensorflow", "keras", "onnx", "tf2onnx", "onnxruntime", "numpy", "pillow", "matplotlib", "scikit-learn",
    "scikit-image", "tifffile", "typer", "rich", "pyyaml",
)  # fmt: skip
# Of the CUDA that TensorFlow 2.21 was built with; all else of it is offered by links.
CUDA = ("nvidia-cuda-runtime-cu12", "nvidia-cuda-cupti-cu12", "nvidia-cuda-nvcc-cu12", "nvidia-cuda-nvrtc-cu12")
# What TensorFlow 2.21 opens.
SONAMES = (
    "libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libcudnn.so.9", "libcufft.so.11", "libcusolver.so.11",
    "libcusparse.so.12", "libcupti.so.12", "libnccl.so.2", "libnvrtc.so.12",
)  # fmt: skip
_PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in (34, 31, 28, 27, 26, 24, 17, 12)] + ["manylinux2014_x86_64"]
# Nobody imports these: headers, compressed copies, Clang, what of CUDA's compiler isn't PTX's.
_LEFT_OUT = re.compile(
    r".*/include/|.*\.(svg\.zst|svg\.gz)$|clang/native/|nvidia/cuda_nvcc/(?!bin/ptxas$|nvvm/libdevice/|__init__)"
)
_RAW = 32 * 2**20  # bytes that are compressed at once; each core takes one
_FILTERS = ({"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 6})


class Damaged(Exception):
    """The bundle is not what was packed."""


def requirements(cpu: bool, also: Sequence[str] = ()) -> list[str]:
    """What pip is asked for, in the versions that pyproject.toml gives, and what the caller wants beside it."""
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    found = {re.match(r"[\w-]+", line)[0]: line for line in declared}
    asked = [found[name] for name in NEEDED]
    asked = [line.replace("tensorflow~", "tensorflow-cpu~") for line in asked] if cpu else [*asked, *CUDA]
    return [*asked, *also]


def download(wheels: Path, python: str, asked: Sequence[str]) -> None:
    """Download the wheels, and build kerasgen's."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    platforms = [option for name in _PLATFORMS for option in ("--platform", name)]
    options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms]
    subprocess.run([*pip, "download", *options, "--dest", str(wheels), *asked], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(REPOSITORY)], check=True)


def pack(
    wheels: Sequence[Path], folder: Path, piece_bytes: int, python: str, capability: int | None = None
) -> dict[str, object]:
    """Write the wheels' files as they are imported into pieces, and return what bundle.json says."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces, held = [], b""

    def write(content: bytes) -> None:
        name = f"piece_{len(pieces):03d}.xz"
        (folder / name).write_bytes(content)
        pieces.append({"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})

    for block in _compressed(wheels, capability):
        if held and len(held) + len(block) > piece_bytes:
            write(held)
            held = b""
        held += block
        if len(held) > piece_bytes:
            raise SystemExit(f"A block takes {len(held) / 2**20:.0f} MiB: give larger pieces.")
    write(held)
    described = {"python": python, "wheels": sorted(wheel.name for wheel in wheels), "pieces": pieces}
    (folder / "bundle.json").write_text(json.dumps(described, indent=2) + "\n")
    return described


def _compressed(wheels: Sequence[Path], capability: int | None) -> Iterator[bytes]:
    """One tar of all wheels' files, block by block; each block is an xz stream of its own."""
    with ProcessPoolExecutor() as pool, tempfile.TemporaryFile() as raw:
        with tarfile.open(fileobj=raw, mode="w") as tar:
            for wheel in wheels:
                _add(wheel, tar, capability)
        raw.seek(0)
        while blocks := [block for block in (raw.read(_RAW) for _ in range(4)) if block]:
            yield from pool.map(_compress, blocks)


def _compress(block: bytes) -> bytes:
    return lzma.compress(block, filters=_FILTERS)


def _add(wheel: Path, tar: tarfile.TarFile, capability: int | None) -> None:
    """Add a wheel's modules, from wherever in it; its scripts and what nobody imports are left out."""
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        for info in archive.infolist():
            name = re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", info.filename)
            if info.is_dir() or re.match(r"[^/]+\.data/", name) or _LEFT_OUT.match(name):
                continue
            file = Path(archive.extract(info, folder))
            if capability and re.search(r"\.so(\.\d+)*$", name):
                _lighten(file, capability)
            member = tarfile.TarInfo(name)
            member.size, member.mode = file.stat().st_size, (info.external_attr >> 16) & 0o755 or 0o644
            with file.open("rb") as content:
                tar.addfile(member, content)
            file.unlink()


def _lighten(library: Path, capability: int) -> None:
    """Take off a library what a card of one capability doesn't need, and its symbols."""
    from gpu_kernels import keep_capability  # here, because `unpack` has this file alone

    if library.stat().st_size:
        keep_capability(library, capability)
    if strip := shutil.which("strip"):
        subprocess.run([strip, "--strip-unneeded", str(library)], check=True)


def unpack(folder: Path, target: Path) -> None:
    """Verify the pieces and write TARGET/site; raise `Damaged` before anything is written."""
    described = json.loads((folder / "bundle.json").read_text())
    for piece in described["pieces"]:
        path = folder / piece["name"]
        if not path.is_file():
            raise Damaged(f"{path} is missing: copy all pieces.")
        if hashlib.sha256(path.read_bytes()).hexdigest() != piece["sha256"]:
            raise Damaged(f"{path} is not what was packed: copy it again.")
    if described["python"] != (here := f"{sys.version_info[0]}.{sys.version_info[1]}"):
        raise Damaged(f"The bundle is for Python {described['python']}, and this is {here}: pack it for this one.")
    names = [str(folder / piece["name"]) for piece in described["pieces"]]
    with ProcessPoolExecutor() as pool, tempfile.TemporaryFile(dir=target.parent) as raw:
        for content in pool.map(_decompress, names):
            raw.write(content)
        raw.seek(0)
        with tarfile.open(fileobj=raw) as tar:
            tar.extractall(target / "site", filter="data")


def _decompress(piece: str) -> bytes:
    return lzma.decompress(Path(piece).read_bytes())


def link_cuda(target: Path, places: Sequence[Path]) -> dict[str, Path]:
    """Link each CUDA library into TARGET/cuda under the name that TensorFlow opens; return them by that name.

    The bundle's own come first, then those of `places`, folders that hold packages: the right version, or any.
    """
    roots = [place / "nvidia" for place in (target / "site", *places)]
    libraries = [path for root in roots for path in sorted(root.glob("**/lib/lib*.so*"))]
    links = target / "cuda"
    links.mkdir(parents=True, exist_ok=True)
    found = {}
    for soname in SONAMES:
        stem = soname.partition(".so")[0]
        known = [path for path in libraries if path.name.partition(".so")[0] == stem]
        if known:
            found[soname] = next((path for path in known if path.name == soname), known[-1])
            link = links / soname
            link.unlink(missing_ok=True)
            link.symlink_to(found[soname].resolve())
    return found


def write_environment(target: Path, found: dict[str, Path]) -> None:
    """Write TARGET/env.sh: where Python, the loader and XLA find what was unpacked."""
    # The libraries look for their own parts beside themselves, which a link hides.
    folders = [target / "cuda", *dict.fromkeys(path.resolve().parent for path in found.values())]
    lines = [
        f'export PYTHONPATH="{target / "site"}${{PYTHONPATH:+:$PYTHONPATH}}"',
        f'export LD_LIBRARY_PATH="{":".join(map(str, folders))}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"',
    ]
    compiler = target / "site" / "nvidia" / "cuda_nvcc"
    if compiler.is_dir():
        lines.append(f'export PATH="{compiler / "bin"}:$PATH" XLA_FLAGS="--xla_gpu_cuda_data_dir={compiler}"')
    (target / "env.sh").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="download, and write pieces")
    packing.add_argument("folder", type=Path)
    packing.add_argument("--python", default="3.12", help="of the other machine")
    packing.add_argument("--piece-mib", type=int, default=60)
    packing.add_argument("--without", nargs="+", default=(), help="packages that the other machine has")
    packing.add_argument("--cpu", action="store_true", help="TensorFlow without CUDA, to try the bundle")
    packing.add_argument("--capability", type=int, help="of the card, such as 90: kernels of others are left out")
    packing.add_argument("--also", nargs="+", default=(), help="further requirements, as pip takes them")
    unpacking = commands.add_parser("unpack", help="verify the pieces, and put them together")
    unpacking.add_argument("folder", type=Path)
    unpacking.add_argument("target", type=Path)
    own = [Path(sysconfig.get_path("platlib"))]
    unpacking.add_argument("--cuda", type=Path, nargs="+", default=own, help="folders that hold nvidia/")
    given = parser.parse_args()
    if given.command == "pack":
        with tempfile.TemporaryDirectory() as folder:
            download(Path(folder), given.python, requirements(given.cpu, given.also))
            left_out = {name.lower().replace("-", "_") for name in given.without}
            wheels = [
                w for w in sorted(Path(folder).glob("*.whl")) if w.name.partition("-")[0].lower() not in left_out
            ]
            piece = given.piece_mib * 2**20
            described = pack(wheels, given.folder, piece, given.python, given.capability)
        size = sum(piece["bytes"] for piece in described["pieces"])
        print(f"{len(wheels)} wheels in {len(described['pieces'])} pieces, {size / 2**20:.0f} MiB: {given.folder}")
        return
    target = given.target.resolve()
    target.mkdir(parents=True, exist_ok=True)
    try:
        unpack(given.folder, target)
    except Damaged as error:
        raise SystemExit(str(error)) from error
    found = link_cuda(target, given.cuda)
    write_environment(target, found)
    print(
        f"Unpacked; of TensorFlow's CUDA libraries {len(found)} of {len(SONAMES)} are there. source {target}/env.sh"
    )
    for name in SONAMES:
        print(f"  {name}: {found.get(name, 'not there')}")


if __name__ == "__main__":
    main()
