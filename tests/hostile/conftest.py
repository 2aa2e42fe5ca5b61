"""How an attack is judged, the same for all groups; what is attacked are the tracked golden files."""

import hashlib
import json
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "009280b"
_LONGEST, _MOST = 400, 3 * 2**30  # characters, bytes
_HANGS = 180  # seconds: not a measure but an end; the slowest attack takes a few


@dataclass
class Attack:
    """One try.

    Attributes:
        name: for people.
        argv: of the command line; "{}" stands for a folder that is the attack's own.
        code: instead of `argv`; Python.
        make: makes what is needed in that folder.
        harmless: whether it may also succeed, such as a flipped bit that changes no meaning.
    """

    name: str
    argv: tuple = ()
    code: str = ""
    make: Callable[[Path], object] = lambda folder: None
    harmless: bool = False


class Victim:
    def __init__(self):
        command = [sys.executable, Path(__file__).with_name("victim.py")]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._answer() == "ready"

    def _answer(self) -> str:
        ready, _, _ = select.select([self._process.stdout], [], [], _HANGS)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.close()
        return line.strip()

    def ask(self, attack: dict) -> dict:
        self._process.stdin.write(json.dumps(attack) + "\n")
        self._process.stdin.flush()
        line = self._answer()
        return json.loads(line) if line else {"code": "died or hung", "said": "", "memory": 0}

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def snapshot(folder: Path) -> dict[str, str]:
    """What stands in a folder, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            found[name] = str(path.lstat().st_mode)
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.stat().st_size < 2**26 else "large"
    return found


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Tries attacks one after the other; gives the faults, each in a line."""
    victims = [Victim()]

    def judge(attacks: list[Attack]) -> list[str]:
        faults = []
        for number, attack in enumerate(attacks):
            if not victims[-1].alive:
                victims.append(Victim())
            folder = tmp_path_factory.mktemp(f"attack{number}")
            (folder / "foreign").mkdir()
            (folder / "foreign" / ".tmp-mine").write_text("mine")
            attack.make(folder)
            before = snapshot(folder)
            asked = (
                {"code": attack.code.replace("{}", str(folder))}
                if attack.code
                else {"argv": [str(a).replace("{}", str(folder)) for a in attack.argv]}
            )
            answer = victims[-1].ask(asked)
            fault = _fault(attack, answer, before, snapshot(folder))
            if fault:
                faults.append(f"{attack.name}: {fault}")
            shutil.rmtree(folder)
        return faults

    yield judge
    victims[-1].close()


def _fault(attack: Attack, answer: dict, before: dict[str, str], after: dict[str, str]) -> str:
    lines = [line for line in answer["said"].splitlines() if line.startswith("Error: ")]
    if answer["memory"] > _MOST:
        return f"it took {answer['memory']:,} bytes"
    if any(after.get(name) != content for name, content in before.items()):
        return f"it changed {[n for n in before if after.get(n) != before[n]]}"
    if attack.harmless and answer["code"] == 0:
        return ""
    if answer["code"] != 2 or len(lines) != 1 or "Traceback" in answer["said"]:
        return f"it ended with {answer['code']}: {answer['said'][-1500:]}"
    if len(lines[0]) > _LONGEST or not lines[0].isprintable():
        return f"its sentence is {len(lines[0])} characters: {lines[0][:200]!r}"
    if any(len(line) > _LONGEST + 20 for line in answer["said"].splitlines()):
        return "a warning is too long"
    if after.keys() - before.keys():
        return f"it left {sorted(after.keys() - before.keys())[:5]}"
    return ""
