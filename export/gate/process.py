"""The parent's side of `runner.py`: an artifact in a fresh process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from kerasgen.files import scratch

from .forks import RUNNER, Fork, imported_runtime
from .runtime import Arrays, load_arrays, save_arrays


class RuntimeFailure(RuntimeError):
    """The raw runtime couldn't load or run an artifact; the message is the end of what it said.

    Attributes:
        died: whether a signal ended the process, as after a crash in native code.
    """

    def __init__(self, message: str, died: bool = False) -> None:
        super().__init__(message)
        self.died = died


class ForeignOperators(RuntimeFailure):
    """An artifact holds operators that are not on its format's list; nothing of it was run."""


class FreshProcess:
    """An artifact loaded by its raw runtime in a new process, on the CPU.

    Use it as a context manager; leaving it ends the process, Ctrl-C included.

    Raises:
        ForeignOperators: the file holds operators that are not on its format's list; nothing of it was run.
        RuntimeFailure: the runtime can't load the file, or crashes while it runs it.
    """

    def __init__(self, format_name: str, path: Path, threads: int = 0) -> None:
        self._format, self._path, self._threads = format_name, path, threads

    def __enter__(self) -> "FreshProcess":
        self._stack = contextlib.ExitStack()
        self._folder = self._stack.enter_context(scratch())
        self._errors = self._stack.enter_context(open(self._folder / "errors.txt", "w+b"))
        self._process = self._begun()
        assert self._process.stdin is not None  # both are pipes
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        try:
            contents: dict = json.loads(self._answer())
            if contents["foreign"]:
                raise ForeignOperators(f"foreign operators: {', '.join(contents['foreign'])}")
            self.description: dict = contents | json.loads(self._answer())
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _begun(self) -> "subprocess.Popen[bytes] | Fork":
        """Start the process, or fork it from one that has imported the runtime."""
        # A GPU would compute in reduced precision, and its memory may be taken by the parent.
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        if runtime := imported_runtime(self._format, environment):
            # What ended already couldn't import it, and says so below.
            with contextlib.suppress(OSError):
                return runtime.fork(self._path, self._threads, self._errors, environment)
        return subprocess.Popen(
            [sys.executable, "-P", str(RUNNER), self._format, str(self._path), str(self._threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends this process
        )

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        """Return the artifact's outputs for a batch."""
        self._request(signature, inputs, repeats=1, outputs=True)
        return load_arrays(self._folder / "outputs.npz")

    def time(self, signature: str, inputs: Arrays, repeats: int) -> list[float]:
        """Return the seconds of each of `repeats` runs."""
        return self._request(signature, inputs, repeats=repeats, outputs=False)

    def _request(self, signature: str, inputs: Arrays, repeats: int, outputs: bool) -> list[float]:
        folder = self._folder
        save_arrays(folder / "inputs.npz", inputs)
        request = {
            "signature": signature,
            "inputs": str(folder / "inputs.npz"),
            "outputs": str(folder / "outputs.npz") if outputs else None,
            "repeats": repeats,
        }
        with contextlib.suppress(BrokenPipeError):  # if the process has died, _answer says why
            self._requests.write((json.dumps(request) + "\n").encode())
            self._requests.flush()
        return json.loads(self._answer())

    def _answer(self) -> bytes:
        """Return the next line of JSON that the process gives."""
        for line in self._answers:
            if line.startswith(b"\x1e"):
                return line[1:]
        code = self._process.wait()
        if code < 0:
            raise RuntimeFailure(f"it crashed (signal {signal.Signals(-code).name})", died=True)
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        raise RuntimeFailure(f"{said[-1].strip() if said else 'it said nothing'} (exit code {code})")

    def _close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._process.kill()
        self._answers.close()
        self._process.wait()
        self._stack.close()
