"""The browser's runtimes: files of npm packages whose tarballs are checked, and kept in the user's cache."""

import binascii
import hashlib
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from kerasgen.errors import UserError, reason
from kerasgen.files import atomic_write, scratch


@dataclass(frozen=True)
class Package:
    """An npm package at one version.

    Attributes:
        name: on npm.
        version: the one that the page was tested with.
        sha512: of its tarball, in base64, as npm's own "integrity" has it.
        license: of all that is taken.
        files: what is taken of the package, and where it goes in the page's folder of runtimes.
    """

    name: str
    version: str
    sha512: str
    license: str
    files: dict[str, str]

    @property
    def tarball(self) -> str:
        """The name that `npm pack` gives to the file."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


_ORT = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
# For browsers with relaxed SIMD, for those without, and for a GPU that takes only part of a graph.
_LITERT = [f"litert_wasm_{kind}internal.{end}" for kind in ("", "compat_", "jspi_") for end in ("js", "wasm")]
_WASM_UTILS = "wasm-utils.js"
PACKAGES = (
    Package(
        "onnxruntime-web",
        "1.30.0",
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        "MIT",
        {f"dist/{name}": f"onnxruntime-web/{name}" for name in _ORT},
    ),
    Package(
        "@litertjs/core",
        "2.5.3",
        "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
        "Apache-2.0",
        {"dist/index.js": "litert/index.js", **{f"wasm/{name}": f"litert/wasm/{name}" for name in _LITERT}},
    ),
    Package(
        "@litertjs/wasm-utils",
        "2.5.3",
        "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
        "Apache-2.0",
        {"dist/bundle.js": f"litert/{_WASM_UTILS}"},
    ),
)


def cache_folder() -> Path:
    """Return where the tarballs are kept: `kerasgen/runtimes` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kerasgen" / "runtimes"


def copy_runtimes(folder: Path) -> None:
    """Write the runtimes' files into a folder that doesn't exist yet.

    Raises:
        UserError: a package is neither in the cache nor to be had by npm, or its bytes are not those that are known.
    """
    for package in PACKAGES:
        with tarfile.open(checked_tarball(package)) as tarball:
            for inside, target in package.files.items():
                (folder / target).parent.mkdir(parents=True, exist_ok=True)
                member = tarball.extractfile(f"package/{inside}")
                assert member is not None  # the tarball is the known one, which has it
                (folder / target).write_bytes(member.read())
    # An import map would be an inline script, which the page's policy forbids.
    index = folder / "litert" / "index.js"
    index.write_text(index.read_text().replace('"@litertjs/wasm-utils"', f'"./{_WASM_UTILS}"'))
    notices = (f"{package.name} {package.version}, license {package.license}" for package in PACKAGES)
    (folder / "NOTICE.txt").write_text("From npm, unchanged but for one import's path:\n" + "\n".join(notices) + "\n")


def checked_tarball(package: Package) -> Path:
    """Return a package's tarball in the cache; npm brings it there first if it is missing or damaged.

    Raises:
        UserError: it can't be had, or is another than the known one.
    """
    kept = cache_folder() / package.tarball
    if kept.is_file() and _integrity(kept) == package.sha512:
        return kept
    with scratch() as folder:
        fetched = _packed(package, folder)
        if _integrity(fetched) != package.sha512:
            raise UserError(
                f"npm gave a {package.tarball} of other bytes than the one that this version of kerasgen was tested "
                f"with: look which registry npm asks, or put the right file into {kept.parent}."
            )
        with atomic_write(kept) as temporary:
            shutil.copyfile(fetched, temporary)
    return kept


def _packed(package: Package, folder: Path) -> Path:
    needed = f"{package.name}@{package.version}"
    instead = f"install Node.js with npm and be online, or put {package.tarball} into {cache_folder()}."
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"The page runs by {needed}, but there is no npm to fetch it: {instead}")
    try:
        command = [npm, "pack", needed, "--pack-destination", str(folder), "--ignore-scripts", "--silent"]
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, timeout=600)
    except (subprocess.SubprocessError, OSError) as error:
        raise UserError(f"The page runs by {needed}, but npm didn't fetch it ({reason(error)}): {instead}") from error
    return folder / package.tarball


def _integrity(path: Path) -> str:
    with open(path, "rb") as stream:
        return binascii.b2a_base64(hashlib.file_digest(stream, "sha512").digest(), newline=False).decode()
