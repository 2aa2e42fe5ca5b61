"""Run artifacts with nothing but their own runtime, in processes that have neither Keras nor kerasgen.

    python -P runner.py FORMAT ARTIFACT THREADS
    python -P runner.py FORMAT SOCKET

The first runs one artifact. Its operators are looked at before anything of it is run: the first line of the answer
describes what it holds, and a foreign operator ends the process there. The second describes the loaded artifact. Each
line of the input is then a request, a JSON object: `signature`, `inputs` (an .npz file), `outputs` (the .npz file to
write, or null) and `repeats`; its answer is the list of seconds that each run took.

The second imports the runtime, runs nothing, and forks a process that does the same for each artifact that the socket
asks for: each begins with a runtime that no artifact has touched, without waiting for its import.
"""

import atexit
import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
import types
from collections.abc import Callable
from pathlib import Path


def main(format_name: str, *asked: str) -> None:
    # A package without kerasgen.export's __init__: the format loads, the rest doesn't.
    package = types.ModuleType("raw_export")
    package.__path__ = [str(Path(__file__).parents[1])]
    sys.modules["raw_export"] = package
    format_module = importlib.import_module(f"raw_export.formats.{format_name}")
    if len(asked) == 1:
        format_module.import_runtime()
        fork_for_each(lambda wanted: run(format_module, wanted["artifact"], wanted["threads"]), int(asked[0]))
    else:
        run(format_module, asked[0], int(asked[1]))


def run(format_module: types.ModuleType, artifact: str, threads: int) -> None:
    arrays = importlib.import_module("raw_export.gate.runtime")
    contents = format_module.contents(artifact)
    answer(vars(contents))
    if contents.foreign:
        return
    loaded = format_module.load(artifact, threads)
    description = {name: value for name, value in vars(loaded).items() if name != "run"}
    description["ours"] = [m for m in ("keras", "kerasgen") if sys.modules.get(m) is not None]
    answer(description)
    for line in sys.stdin:
        request = json.loads(line)
        inputs = arrays.load_arrays(request["inputs"])
        seconds = []
        for _ in range(request["repeats"]):
            start = time.perf_counter()
            outputs = loaded.run(request["signature"], inputs)
            seconds.append(time.perf_counter() - start)
        if request["outputs"]:
            arrays.save_arrays(request["outputs"], outputs)
        answer(seconds)


def answer(value: object) -> None:
    # A runtime may print to the standard output too: the mark tells our lines from its own.
    print("\x1e" + json.dumps(value), flush=True)


def fork_for_each(serve: Callable[[dict], None], number: int) -> None:
    """Fork for each message of the socket, which brings the new process' files, until the other end is closed."""
    with socket.socket(fileno=number) as asking:
        while True:
            message, files, _, _ = socket.recv_fds(asking, 1 << 20, 4)
            if not message:
                return
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that watch
            if os.fork() == 0:
                asking.close()
                watch(serve, json.loads(message), files)
            for file in files:
                os.close(file)


def watch(serve: Callable[[dict], None], asked: dict, files: list[int]) -> None:
    """Fork the process that serves, and write to the last file its number, and how it ended; never return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, status = files
    child = os.fork()
    if child == 0:
        os.close(status)
        become(serve, asked, standard)
    for file in standard:
        os.close(file)
    with contextlib.suppress(BrokenPipeError), open(status, "w") as said:
        print(child, file=said, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=said)
    os._exit(0)


def become(serve: Callable[[dict], None], asked: dict, standard: list[int]) -> None:
    """Serve what is asked for as a new process would, and end."""
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0, closefd=False)
    os.environ.clear()
    os.environ.update(asked["environment"])
    code: object = 0
    try:
        serve(asked)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not by Python's own end, where libraries wait for threads that a fork doesn't have.
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main(*sys.argv[1:])
