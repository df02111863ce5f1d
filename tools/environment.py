"""A virtual environment with the project in it, for the scripts of this folder; the standard library only."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Environment:
    """A virtual environment in a folder. It is kept, and made anew only when what it was made from has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._stamp = self.folder / "vecdb-stamp.txt"

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def install(self, arguments: Sequence[str], inputs: Iterable[Path]) -> None:
        """Have `pip install` run in it with these arguments, unless it was and none of the input files changed."""
        # Programs in an environment hold its place, and compiled packages belong to one version of Python.
        home = f"{self.folder} {sys.version}".replace("\n", " ")
        stamp = [home, _fingerprint(arguments, inputs)]
        found = self._stamp.read_text("utf-8").splitlines() if self._stamp.exists() else []
        if found == stamp:
            return
        print(f"Installing the project into {_short(self.folder)}, which takes a minute or so ...", end="", flush=True)
        start = time.perf_counter()
        if found[:1] != stamp[:1]:
            self._create()
        self._stamp.write_text(home, "utf-8")  # made by this script, and not complete yet
        _run([*self._pip(), "install", "--disable-pip-version-check", *arguments])
        self._stamp.write_text("\n".join(stamp), "utf-8")
        print(f" {time.perf_counter() - start:.0f} s")

    def _create(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()) and not self._stamp.exists():
            sys.exit(f"\n{self.folder} was not made by this script, or not to its end: remove it, or name another")
        options = ["--clear"] if _has_ensurepip() else ["--clear", "--without-pip"]
        _run([sys.executable, "-m", "venv", *options, str(self.folder)])

    def _pip(self) -> list[str]:
        if (self.folder / "bin" / "pip").exists():
            return [self.program("python"), "-m", "pip"]
        return [sys.executable, "-m", "pip", "--python", self.program("python")]


def _has_ensurepip() -> bool:
    """Whether an environment can be made with a pip of its own; some Linux systems package that apart."""
    return importlib.util.find_spec("ensurepip") is not None


def _fingerprint(arguments: Sequence[str], inputs: Iterable[Path]) -> str:
    digest = hashlib.sha256("\0".join(arguments).encode())
    for path in sorted(inputs):
        digest.update(f"\0{path}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _run(command: Sequence[str]) -> None:
    """Run a program quietly; if it fails, show what it said and exit."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"\n{done.stdout}\nThis failed: {' '.join(command)}")


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
