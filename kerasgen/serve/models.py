"""The versions below a folder: loaded once, swapped while requests run, closed after the last answer."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kerasgen.errors import UserError, sentence
from kerasgen.export.serving import model_names, numbers, read_config

from .refusal import Refusal
from .version import LoadedVersion, Queue, said

_FIRST_PAUSE, _LONGEST_PAUSE = 15.0, 600.0  # seconds until a version that failed is tried again as it is

Files = list[tuple[str, int, int]]


@dataclass
class _Failure:
    """A version that can't be loaded, which may still be on its way into the folder.

    Attributes:
        said: why.
        tried: its files when it was tried.
        seen: its files when they were last looked at.
        pause: seconds until it is tried again though nothing changed: memory may have been short.
        since: the time of the try, by `time.monotonic`.
    """

    said: str
    tried: Files
    seen: Files
    pause: float
    since: float

    def is_worth_a_try(self, files: Files) -> bool:
        """Tell whether to try again: its files changed, but not since the last look; or a pause is over."""
        still, self.seen = files == self.seen, files
        return still and (files != self.tried or time.monotonic() - self.since > self.pause)


@dataclass
class _Model:
    loaded: dict[int, LoadedVersion] = field(default_factory=dict)
    failed: dict[int, _Failure] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)


class Models:
    """All models below a folder, as its models.config says, or the highest version of each where there is none.

    Args:
        base: the folder.
        queue: what each version's queue is made with.
        check: raises `UserError` for a version's folder that must not be run.
        say: told what is loaded and unloaded, a line at a time.
    """

    def __init__(self, base: Path, queue: Queue, check: Callable[[Path], None], say: Callable[[str], None]):
        self._base, self._queue, self._check, self._say = base, queue, check, say
        self._models: dict[str, _Model] = {}
        self._retired: list[LoadedVersion] = []
        self._lock = threading.Lock()
        self._complaint = ""

    @contextmanager
    def use(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[LoadedVersion]:
        """Hold a version while a request runs; it isn't closed meanwhile. By default the highest one.

        Raises:
            Refusal: there is no such model, version or label.
        """
        with self._lock:
            loaded = self._find(name, version, label)
            loaded.users += 1
        try:
            yield loaded
        finally:
            with self._lock:
                loaded.users -= 1

    def states(self, name: str, version: int | None = None, label: str | None = None) -> list[tuple[int, str, str]]:
        """Return number, state and error of a model's versions, the highest first.

        Raises:
            Refusal: there is no such model, version or label.
        """
        with self._lock:
            model = self._models.get(name, _Model())
            wanted = self._find(name, None, label).number if label else version
            found = {n: ("END", failure.said) for n, failure in model.failed.items()}
            found |= dict.fromkeys(model.loaded, ("AVAILABLE", ""))
        states = [(n, *found[n]) for n in sorted(found, reverse=True) if wanted in (None, n)]
        if not states:
            raise Refusal("NOT_FOUND", f"There is no model {name!r}{f' of version {version}' if version else ''}.")
        return states

    def names(self) -> list[str]:
        """Return the models that have a version which is loaded."""
        with self._lock:
            return sorted(name for name, model in self._models.items() if model.loaded)

    def why_none(self) -> str:
        """Return what is wrong with the folder, or with one of its versions; "" if it is empty."""
        failures = [
            f"version {number} of {name}: {failure.said}"
            for name, model in sorted(self._models.items())
            for number, failure in model.failed.items()
        ]
        return self._complaint or next(iter(failures), "")

    def scan(self) -> None:
        """Load what is new, then unload what is no longer wanted; whatever is wrong, what works goes on."""
        try:
            self._scan()
        except Exception as error:
            complaint = sentence(error)
            if complaint != self._complaint:
                self._say(f"What is served stays as it was: {complaint}")
            self._complaint = complaint
        else:
            self._complaint = ""

    def _scan(self) -> None:
        wanted = self._wanted()
        for name, (versions, _) in wanted.items():
            for number, path in versions.items():
                self._load(name, number, path)
        with self._lock:
            for name, model in self._models.items():
                versions, model.labels = wanted.get(name, ({}, {}))
                # What works is kept until something of what is wanted works.
                if name not in wanted or set(versions) & set(model.loaded):
                    for number in set(model.loaded) - set(versions):
                        self._retired.append(model.loaded.pop(number))
                model.failed = {n: failure for n, failure in model.failed.items() if n in versions}
        self._close_idle()

    def close(self, seconds: float = 10.0) -> None:
        """Close all versions; what runs has `seconds` to end."""
        with self._lock:
            for model in self._models.values():
                self._retired += model.loaded.values()
                model.loaded = {}
        end = time.monotonic() + seconds
        while self._retired and time.monotonic() < end:
            self._close_idle()
            time.sleep(0.02 if self._retired else 0)

    def _close_idle(self) -> None:
        with self._lock:
            idle = [version for version in self._retired if not version.users]
            self._retired = [version for version in self._retired if version.users]
        for version in idle:
            version.close()
            self._say(f"Unloaded version {version.number} of {version.name}.")

    def _load(self, name: str, number: int, path: Path) -> None:
        model = self._models.get(name) or _Model()
        before = model.failed.get(number)
        files = [] if number in model.loaded else _files(path)
        if number in model.loaded or (before and not before.is_worth_a_try(files)):
            return
        start, loaded, failure = time.monotonic(), None, ""
        try:
            self._check(path)
            loaded = LoadedVersion(name, number, path, self._queue)
            self._say(f"Loaded version {number} of {name} and warmed it up in {time.monotonic() - start:.1f} s.")
        except Exception as error:  # whatever is wrong with one version, the others go on
            failure = sentence(said(error))
            if not before or before.said != failure:
                self._say(f"Version {number} of {name} can't be loaded: {failure}")
        with self._lock:
            if loaded:
                model.loaded[number] = loaded
                model.failed.pop(number, None)
            else:
                pause = min(2 * before.pause, _LONGEST_PAUSE) if before else _FIRST_PAUSE
                model.failed[number] = _Failure(failure, files, files, pause, time.monotonic())
            self._models[name] = model

    def _find(self, name: str, version: int | None, label: str | None) -> LoadedVersion:
        model = self._models.get(name)
        if model is None or not model.loaded:
            known = ", ".join(n for n, m in self._models.items() if m.loaded) or "none"
            raise Refusal("NOT_FOUND", f"There is no model {name!r}: these are served: {known}.")
        number = version if version is not None else model.labels.get(label) if label else max(model.loaded)
        if number not in model.loaded:
            asked = f"label {label!r}" if label else f"version {version}"
            loaded = ", ".join(map(str, sorted(model.loaded)))
            raise Refusal("NOT_FOUND", f"{name} has no {asked} that is loaded: these versions are: {loaded}.")
        return model.loaded[number]

    def _wanted(self) -> dict[str, tuple[dict[int, Path], dict[str, int]]]:
        """By model: its versions with their folders, and its labels."""
        config = read_config(self._base).model_config_list.config
        if not config:
            return {
                name: (self._paths(name, numbers(self._base / name)[-1:]), {}) for name in model_names(self._base)
            }
        wanted = {}
        for entry in config:
            # In a container the folder is mounted elsewhere; its name stays.
            folder = Path(entry.base_path).name
            if folder in ("", ".."):
                which = f"models.config has the base_path {entry.base_path!r} of {entry.name!r}"
                raise UserError(f"{which}: let it end in the name of a folder.")
            there = numbers(self._base / folder) if (self._base / folder).is_dir() else []
            policy = entry.model_version_policy
            kind = policy.WhichOneof("policy_choice")
            if kind == "specific":
                there = [n for n in there if n in policy.specific.versions]
            elif kind != "all":
                there = there[-(policy.latest.num_versions or 1) :]
            wanted[entry.name] = (self._paths(folder, there), dict(entry.version_labels))
        return wanted

    def _paths(self, folder: str, there: list[int]) -> dict[int, Path]:
        return {number: self._base / folder / str(number) for number in there}


def _files(path: Path) -> Files:
    """Return names, sizes and times of a version's files, by which a change is seen."""
    found = []
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder, name)
            state = os.lstat(file)
            found.append((str(file), state.st_size, state.st_mtime_ns))
    return sorted(found)
