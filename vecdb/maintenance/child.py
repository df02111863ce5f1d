"""Work in a process of its own: no file can hurt the caller from there, and no thread of the caller waits for it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any, Final

from vecdb import errors
from vecdb.storage.environment import NO_SPACE

_RUN: Final = (
    "import sys; sys.path[:] = {path!r}; from vecdb.maintenance.child import _main; _main({module!r}, {name!r})"
)
_STEPS: Final = 1000  # in which progress is told


class ChildDiedError(Exception):
    """The process ended before its work did."""


class Teller:
    """How the work tells what it does, as lines of JSON."""

    def __init__(self) -> None:
        self._shown = 0

    def report(self, done: int, total: int) -> None:
        step = _STEPS * min(done, total) // max(total, 1)
        if step > self._shown:
            self._shown = step
            self._write({"done": step})

    def say(self, message: object) -> None:
        """Hand something over at once."""
        self._write({"say": message})

    def _write(self, line: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


class Child:
    """A process that does `work(teller, *args)` once it is given its arguments."""

    def __init__(self, work: Callable[..., Any]) -> None:
        import subprocess

        code = _RUN.format(path=sys.path, module=work.__module__, name=work.__name__)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def run(
        self,
        *args: object,
        report: Callable[[int, int], None] = lambda done, total: None,
        say: Callable[[Any], None] = lambda message: None,
    ) -> Any:
        """What the work returned. Raises its error where that is one of vecdb's, else ChildDiedError."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        try:
            process.stdin.write(json.dumps(args).encode())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it died; how is told below
        for line in process.stdout:
            told = json.loads(line)
            if "done" in told:
                report(told["done"], _STEPS)
            elif "say" in told:
                say(told["say"])
            elif "error" in told:
                name, message = told["error"]
                raise getattr(errors, name, errors.InternalError)(message)
            else:
                return told["end"]
        said = process.stderr.read().decode(errors="replace").strip().splitlines()
        status = process.wait()
        reason = f"signal {-status}" if status < 0 else f"status {status}"
        raise ChildDiedError(f"by {reason}: {said[-1] if said else 'nothing was said'}")


def _main(module: str, name: str) -> None:
    """What the process does."""
    teller = Teller()
    work = getattr(importlib.import_module(module), name)
    args = json.loads(sys.stdin.read())
    try:
        teller._write({"end": work(teller, *args)})
    except errors.Error as error:
        teller._write({"error": [type(error).__name__, str(error)]})
    except OSError as error:
        kind = errors.StorageFullError if error.errno in NO_SPACE else errors.StorageIOError
        teller._write({"error": [kind.__name__, str(error)]})
