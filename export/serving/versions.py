"""The folder that TensorFlow Serving watches: `BASE/NAME/N/`, and `BASE/models.config`, which says what is loaded.

A version is loaded if it has a label. A request that names neither a version nor a label gets the highest one that
is loaded: that is TensorFlow Serving's rule. The configuration changes after the version's folder is complete, each
in one rename, so that a publisher that is killed leaves what was served before.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kerasgen.errors import UserError
from kerasgen.files import atomic_write, flush, fsync, locked, own_folder
from kerasgen.untrusted import read_text

from .protos import as_text, model_server_config

if TYPE_CHECKING:
    from google.protobuf.message import Message

Result = TypeVar("Result")
STABLE, PREVIOUS = "stable", "previous"
MODELS_IN_CONTAINER = "/models"
_CONFIG = "models.config"


@dataclass(frozen=True)
class Version:
    """One version of a model in a folder for TensorFlow Serving.

    Attributes:
        model: its name on the server.
        number: of the version.
        path: its folder.
        labels: what clients may call it by; of a model that has some, a version without any is not loaded.
        default: whether a request that names no version gets it.
        bytes: of its files.
    """

    model: str
    number: int
    path: Path
    labels: tuple[str, ...]
    default: bool
    bytes: int


def list_versions(base: str | os.PathLike) -> list[Version]:
    """Return all versions of all models below a folder, by name and number.

    Raises:
        UserError: there is no such folder, or its models.config is damaged.
    """
    base, found = Path(base), []
    if not base.is_dir():
        raise UserError(f"There is no folder {base}: give the one that `kerasgen export --serving` wrote to.")
    config = read_config(base)
    for name in model_names(base):
        labels = {m.name: dict(m.version_labels) for m in config.model_config_list.config}.get(name, {})
        newest = max(labels.values(), default=numbers(base / name)[-1])
        for number in numbers(base / name):
            path = base / name / str(number)
            own = tuple(sorted(label for label, of in labels.items() if of == number))
            size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
            found.append(Version(name, number, path, own, number == newest, size))
    return found


def rollback(base: str | os.PathLike, name: str, version: int | None = None) -> int:
    """Serve an earlier version than the newest that is loaded; returns its number.

    By default that is the stable one if a newer is loaded, and otherwise the previous one. "stable" then means that
    version; newer ones lose their labels and are no longer loaded. Their folders stay.

    Raises:
        UserError: there is no such model or version.
    """

    def change(labels: dict[str, int], known: list[int]) -> int:
        now = max(labels.values(), default=known[-1])  # without labels the newest is served
        older = [number for number in known if number < now]
        stable = labels.get(STABLE, 0)
        before = stable if stable < now else labels.get(PREVIOUS, 0)
        target = version or (before if before in older else max(older, default=0))
        if target not in older:
            said = f"no version {version}" if version else "no version"
            raise UserError(
                f"{name} has {said} older than {now}, the newest loaded: `kerasgen serving list` shows them."
            )
        # "previous" would mean the same as "stable".
        kept = {label: n for label, n in labels.items() if n <= target and (label, n) != (PREVIOUS, target)}
        labels.clear()
        labels.update({**kept, STABLE: target})
        return target

    return _change_labels(Path(base), name, change)


def label_version(base: str | os.PathLike, name: str, label: str, version: int) -> None:
    """Give a version a label, which it takes from the version that had it; what has a label is loaded.

    Raises:
        UserError: there is no such model or version, or the label has other signs than letters, digits, "_" and "-".
    """
    check_name(label, "label")

    def change(labels: dict[str, int], known: list[int]) -> None:
        if version not in known:
            raise UserError(f"{name} has no version {version}: choose one of {', '.join(map(str, known))}.")
        labels[label] = version

    _change_labels(Path(base), name, change)


@contextmanager
def new_version(base: Path, name: str, number: int | None, label: str) -> Iterator[tuple[Path, list[int]]]:
    """Give a temporary folder in which `model.saved_model` is to be made; that then becomes a version.

    The list that comes with it holds the version's number afterwards. Without `number` it is the next free one.

    Raises:
        UserError: the version exists, another publisher made it meanwhile, or the folder can't be written to.
    """
    folder = base / name
    result: list[int] = []
    if number is not None and (folder / str(number)).exists():
        raise UserError(f"{folder / str(number)} exists, and no version is ever replaced: leave the number out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with own_folder(folder) as temporary:
            yield temporary, result
            made = temporary / "model.saved_model"
            flush(made)
            with _locked(base):
                result.append(number or max(numbers(folder), default=0) + 1)
                _rename(made, folder / str(result[0]))
                fsync(folder)
                _label_published(base, name, result[0], label)
    except OSError as error:
        raise UserError(
            f"{base} can't be written ({error.strerror or error}): "
            "choose a folder that you may write to, on a disk with free space."
        ) from error


def numbers(folder: Path) -> list[int]:
    """Return the versions below a model's folder, the lowest first."""
    return sorted(int(p.name) for p in folder.iterdir() if re.fullmatch(r"[1-9]\d{0,17}", p.name) and p.is_dir())


def model_names(base: Path) -> list[str]:
    """Return the folders of `base` that have a version."""
    return sorted(p.name for p in base.iterdir() if p.is_dir() and p.name[0] != "." and numbers(p))


def read_config(base: Path) -> "Message":
    """Return the ModelServerConfig of a folder, which is empty where there is none.

    Raises:
        UserError: it is damaged.
    """
    file = base / _CONFIG
    text = read_text(file, "a model configuration", "mend it, or remove it") if file.is_file() else ""
    return model_server_config(text, file)


def check_name(name: str, what: str) -> None:
    """Raise `UserError` unless a name works in a URL and as a folder."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
        raise UserError(f"The {what} {name!r} can't be part of a URL: use letters, digits, '_' and '-'.")


def _change_labels(base: Path, name: str, change: Callable[[dict[str, int], list[int]], Result]) -> Result:
    if not (base / name).is_dir():
        known = ", ".join(model_names(base)) if base.is_dir() else ""
        raise UserError(f"There is no model {name!r} in {base}: choose one of {known or 'none'}.")
    with _locked(base):
        return _change_config(base, name, change)


def _change_config(base: Path, name: str, change: Callable[[dict[str, int], list[int]], Result]) -> Result:
    """Change a model's labels, and with them what is loaded; the caller holds the lock."""
    config = read_config(base)
    if not config.model_config_list.config:
        # Without any entry all models of the folder are served, each in its newest version: they stay so.
        for other in model_names(base):
            if other != name:
                _add_entry(config, other)
    entry = next((m for m in config.model_config_list.config if m.name == name), None)
    if entry is None:
        entry = _add_entry(config, name)
    labels = dict(entry.version_labels)
    result = change(labels, numbers(base / name))
    entry.version_labels.clear()
    entry.version_labels.update(labels)
    entry.model_version_policy.specific.versions[:] = sorted(set(labels.values()))
    with atomic_write(base / _CONFIG) as temporary:
        temporary.write_text(as_text(config))
    return result


def _add_entry(config: "Message", name: str) -> "Message":
    """Add a model without labels, whose newest version is served."""
    entry = config.model_config_list.config.add(name=name, model_platform="tensorflow")
    entry.base_path = f"{MODELS_IN_CONTAINER}/{name}"
    return entry


def _label_published(base: Path, name: str, number: int, label: str) -> None:
    def change(labels: dict[str, int], known: list[int]) -> None:
        if label == STABLE and STABLE in labels:
            labels[PREVIOUS] = labels[STABLE]
        labels[label] = number

    _change_config(base, name, change)


def _rename(made: Path, target: Path) -> None:
    try:
        os.rename(made, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise UserError(
            f"{target} was published by another meanwhile: publish again for the next version."
        ) from error


@contextmanager
def _locked(base: Path) -> Iterator[None]:
    """Let one process at a time change what is published; the lock ends with the process that holds it."""
    base.mkdir(parents=True, exist_ok=True)
    file = base / ".lock"
    file.touch()
    with locked(file):
        yield
