"""`benchmarks/gpu_bundle.py`: what is packed comes out elsewhere, whole or not at all; CUDA's libraries are found."""

import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import gpu_bundle
import gpu_kernels
import pytest
import wrapt

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
SCRIPT = Path(gpu_bundle.__file__)


@pytest.fixture(scope="module")
def compiled():
    """A package with a compiled module, as it is installed."""
    folder = Path(wrapt.__file__).parent
    assert list(folder.glob("*.so"))
    return folder


@pytest.fixture
def wheels(tmp_path, compiled):
    """A wheel of pure Python whose modules stand in two places, and one that is compiled."""
    pure, binary = tmp_path / "pure_thing-1.0-py3-none-any.whl", tmp_path / "wrapt-9-cp3-cp3-manylinux.whl"
    with zipfile.ZipFile(pure, "w") as archive:
        archive.writestr("pure_thing.py", "VALUE = 'pure'\n")
        archive.writestr("pure_thing-1.0.data/purelib/other_thing.py", "VALUE = 'other'\n")
        archive.writestr("pure_thing-1.0.data/scripts/command", "#!/bin/sh\n")
        archive.writestr("pure_thing-1.0.data/data/noise.bin", os.urandom(300_000))
        archive.writestr("large.bin", b"".join(i.to_bytes(4, "little") for i in range(500_000)))
        tool = zipfile.ZipInfo("pure_thing_tool/run")
        tool.external_attr = 0o755 << 16
        archive.writestr(tool, "#!/bin/sh\necho works\n")
    with zipfile.ZipFile(binary, "w") as archive:
        for path in compiled.iterdir():
            if path.is_file():
                archive.write(path, f"wrapt/{path.name}")
    return [pure, binary]


@pytest.fixture
def bundle(tmp_path, wheels, monkeypatch):
    monkeypatch.setattr(gpu_bundle, "_RAW", 200_000)
    gpu_bundle.pack(wheels, tmp_path / "bundle", 150_000, HERE)
    return tmp_path / "bundle"


def unpacked(bundle, target, *options):
    """The script by itself in an interpreter without any package."""
    command = [sys.executable, "-I", "-S", SCRIPT, "unpack", bundle, target, *options]
    return subprocess.run(command, capture_output=True, text=True)


def run_there(target, code):
    """What a process prints that has sourced env.sh and sees no other packages."""
    command = f'source "{target}/env.sh" && "{sys.executable}" -S -c "{code}"'
    environment = {"PATH": os.environ["PATH"]}
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, cwd="/")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def test_what_is_packed_comes_out_whole(tmp_path, bundle, compiled):
    described = json.loads((bundle / "bundle.json").read_text())
    sizes = [(bundle / piece["name"]).stat().st_size for piece in described["pieces"]]
    assert len(sizes) > 1
    assert max(sizes) <= 150_000
    target = tmp_path / "elsewhere"
    done = unpacked(bundle, target, "--cuda", tmp_path)
    assert done.returncode == 0, done.stderr
    code = (
        "import pure_thing, other_thing, wrapt._wrappers as w; print(pure_thing.VALUE, other_thing.VALUE, w.__file__)"
    )
    first, second, file = run_there(target, code)
    assert (first, second) == ("pure", "other")
    assert Path(file).parent == target / "site" / "wrapt"
    for path in compiled.glob("*.so"):
        assert (target / "site" / "wrapt" / path.name).read_bytes() == path.read_bytes()
    expected = b"".join(i.to_bytes(4, "little") for i in range(500_000))
    assert (target / "site" / "large.bin").read_bytes() == expected
    assert subprocess.check_output([target / "site" / "pure_thing_tool" / "run"], text=True) == "works\n"
    assert not list(target.rglob("command"))
    assert not list(target.rglob("noise.bin"))


def test_a_damaged_or_missing_piece_is_refused(tmp_path, bundle):
    piece = sorted(bundle.glob("piece_*.xz"))[1]
    whole = piece.read_bytes()
    piece.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    done = unpacked(bundle, tmp_path / "target")
    assert (done.returncode, done.stderr) == (1, f"{piece} is not what was packed: copy it again.\n")
    assert not (tmp_path / "target" / "site").exists()
    piece.unlink()
    assert unpacked(bundle, tmp_path / "target").stderr == f"{piece} is missing: copy all pieces.\n"


def test_a_bundle_for_another_python_is_refused(tmp_path, wheels):
    gpu_bundle.pack(wheels[:1], tmp_path / "bundle", 2**22, "3.99")
    said = unpacked(tmp_path / "bundle", tmp_path / "target").stderr
    assert said == f"The bundle is for Python 3.99, and this is {HERE}: pack it for this one.\n"


def test_cuda_libraries_of_another_version_open_under_the_names_that_tensorflow_asks_for(tmp_path, bundle, compiled):
    library = next(compiled.glob("*.so")).read_bytes()
    there, target = tmp_path / "site-packages", tmp_path / "target"
    names = ("cu13/lib/libcublas.so.13", "cu13/lib/libcublasLt.so.13", "cudnn/lib/libcudnn.so.9")
    for name in (*names, "cudnn/lib/libcudnn_ops.so.9", "cublas/lib/libcublasLt.so.12"):
        path = there / "nvidia" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(library)
    done = unpacked(bundle, target, "--cuda", there)
    assert done.returncode == 0, done.stderr
    assert "3 of 10 are there" in done.stdout
    assert "libnccl.so.2: not there" in done.stdout
    links = {path.name: path.resolve().relative_to(there / "nvidia") for path in (target / "cuda").iterdir()}
    assert links == {
        "libcublas.so.12": Path("cu13/lib/libcublas.so.13"),
        "libcublasLt.so.12": Path("cublas/lib/libcublasLt.so.12"),  # the right version is taken where it is
        "libcudnn.so.9": Path("cudnn/lib/libcudnn.so.9"),
    }
    # cuDNN's own parts open too, though no link names them. Lazily: the module's Python isn't looked for.
    opens = ("libcublas.so.12", "libcudnn.so.9", "libcudnn_ops.so.9")
    run_there(target, f"import ctypes; [ctypes.CDLL(name, mode=1) for name in {opens}]")


def test_kernels_of_other_cards_are_blanked(tmp_path):
    """A library as CUDA lays it out: PTX of 9.0, and machine code of 8.0 and 9.0, between other bytes."""
    codes = {(1, 90): b"ptx of 90", (2, 80): b"code of 80 " * 9, (2, 90): b"code of 90"}
    entries = b""
    for (kind, capability), code in codes.items():
        head = struct.pack("<HHIQIIHHI", kind, 0x101, 64, len(code), 0, 0, 0, 0, capability)
        entries += head.ljust(64, b"\0") + code
    other = b"\x50\xed\x55\xba and no more of a head"
    fat = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries
    library = tmp_path / "lib.so"
    library.write_bytes(b"before" + other + fat + b"behind" + fat + other[:6])
    whole = library.read_bytes()
    assert gpu_kernels.keep_capability(library, 90) == 2 * 99
    assert library.read_bytes() == whole.replace(codes[2, 80], bytes(99))


def test_the_versions_are_those_of_the_project():
    asked = gpu_bundle.requirements(cpu=False)
    assert "tensorflow~=2.21.0" in asked
    assert set(gpu_bundle.CUDA) <= set(asked)
    assert "tensorflow-cpu~=2.21.0" in gpu_bundle.requirements(cpu=True)
