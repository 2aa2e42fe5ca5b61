"""Versions in the hands of TensorFlow: loaded once, swapped while requests run, closed after the last answer."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasgen.errors import UserError
from kerasgen.export.serving import described, is_batchable, model_names, numbers, read_config, read_warmup

from .batching import Arrays, Batcher, Task
from .refusal import Refusal, invalid

if TYPE_CHECKING:
    from collections.abc import Callable


class LoadedVersion:
    """A SavedModel in a V1 session, warmed up, behind its queue.

    Attributes:
        name, number, path: which version it is.
        signatures: SignatureDef messages by name.
        batchable: by signature, whether requests may be joined.
        users: requests that hold it.
    """

    def __init__(self, name: str, number: int, path: Path, max_rows: int, max_waiting: int, threads: int):
        import tensorflow as tf

        self.name, self.number, self.path, self.users = name, number, path, 0
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            meta = _loaded_into(self._session, path)
            self.signatures = {n: d for n, d in sorted(meta.signature_def.items()) if not n.startswith("__")}
            self.batchable = {name: is_batchable(described(d)) for name, d in self.signatures.items()}
            for signature, inputs in read_warmup(path):
                self._run(signature, inputs, 60.0)
        except BaseException:
            self._session.close()
            raise
        self._batcher = Batcher(self._run, max_rows, max_waiting, threads)

    def run(self, task: Task) -> Arrays:
        """Answer a request whose inputs were checked.

        Raises:
            Refusal: it can't be answered.
        """
        return self._batcher.run(task)

    def close(self) -> None:
        """Answer what waits, and give the memory back."""
        self._batcher.close()
        self._session.close()

    def _run(self, signature: str, inputs: Arrays, seconds: float) -> Arrays:
        import tensorflow as tf

        definition = self.signatures[signature]
        feed = {definition.inputs[name].name: value for name, value in inputs.items()}
        fetches = {name: info.name for name, info in definition.outputs.items()}
        options = tf.compat.v1.RunOptions(timeout_in_ms=max(1, int(1000 * seconds)))
        try:
            return self._session.run(fetches, feed, options=options)
        except tf.errors.DeadlineExceededError:
            raise Refusal("DEADLINE_EXCEEDED", "The time for the request ran out: send smaller ones.") from None
        except (tf.errors.ResourceExhaustedError, MemoryError):
            raise Refusal("RESOURCE_EXHAUSTED", "The request needs more memory than there is: shrink it.") from None
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise invalid(f"The model can't use the inputs: {_said(error)}") from None


def _loaded_into(session: Any, path: Path) -> Any:
    """Load a SavedModel; returns its MetaGraphDef."""
    import tensorflow as tf

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # it would say that V1 sessions are old; TensorFlow Serving has no others
    try:
        return tf.compat.v1.saved_model.loader.load(session, ["serve"], str(path))
    finally:
        logger.setLevel(level)


def _said(error: Exception) -> str:
    """Return what an operator said, without the graph's node around it."""
    lines = [line.strip() for line in str(getattr(error, "message", error)).splitlines()]
    said = [line for line in lines if line and not line.startswith(("[[", "Graph execution error"))]
    return said[0] if said else type(error).__name__


@dataclass
class _Model:
    loaded: dict[int, LoadedVersion] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)


class Models:
    """All models below a folder, as its models.config says, or the highest version of each where there is none.

    Args:
        base: the folder.
        max_rows, max_waiting, threads: of each version's queue.
        say: told what is loaded and unloaded, a line at a time.
    """

    def __init__(self, base: Path, max_rows: int, max_waiting: int, threads: int, say: "Callable[[str], None]"):
        self._base, self._queue, self._say = base, (max_rows, max_waiting, threads), say
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
            found = {n: ("END", said) for n, said in model.failed.items()}
            found |= dict.fromkeys(model.loaded, ("AVAILABLE", ""))
        states = [(n, *found[n]) for n in sorted(found, reverse=True) if wanted in (None, n)]
        if not states:
            raise Refusal("NOT_FOUND", f"There is no model {name!r}{f' of version {version}' if version else ''}.")
        return states

    def names(self) -> list[str]:
        """Return the models that have a version which is loaded."""
        with self._lock:
            return sorted(name for name, model in self._models.items() if model.loaded)

    def scan(self) -> None:
        """Load what is new, then unload what is no longer wanted."""
        try:
            wanted = self._wanted()
        except (UserError, OSError) as error:
            if str(error) != self._complaint:
                self._say(f"What is served stays as it was: {error}")
            self._complaint = str(error)
            return
        self._complaint = ""
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
                model.failed = {n: said for n, said in model.failed.items() if n in versions}
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
        if number in model.loaded or number in model.failed:
            return
        start, loaded, failure = time.monotonic(), None, ""
        try:
            loaded = LoadedVersion(name, number, path, *self._queue)
            self._say(f"Loaded version {number} of {name} and warmed it up in {time.monotonic() - start:.1f} s.")
        except Exception as error:  # whatever is wrong with one version, the others go on
            failure = _said(error)
            self._say(f"Version {number} of {name} can't be loaded: {failure}")
        with self._lock:
            if loaded:
                model.loaded[number] = loaded
            else:
                model.failed[number] = failure
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
