"""Kernels compiled by two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vecdb.kernels import ahead

SCRIPT = """
import subprocess, sys
from numba.core import event
from vecdb.kernels import ahead

class Compiled(event.Listener):
    names = []
    def on_start(self, event): self.names.append(event.data["dispatcher"].py_func.__name__)
    def on_end(self, event): pass

class Popen(subprocess.Popen):
    started = 0
    def __init__(self, *args, **options):
        Popen.started += 1
        super().__init__(*args, **options)

subprocess.Popen = Popen
with event.install_listener("numba:compile", Compiled()):
    ahead.load_linking(beside=True)
    ahead.load_search()
print(Popen.started, *(name for name in ("choose", "settle", "attach", "search") if name in Compiled.names))
"""


def test_another_process_compiles_what_searches_need(tmp_path: Path) -> None:
    def run() -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"}
        command = [sys.executable, "-c", SCRIPT]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert run() == "1 choose settle attach\n"
    assert run() == "0\n", "all is on disk"


@pytest.mark.parametrize("executable", ["/usr/bin/an-application", "", None])
def test_an_application_is_not_started_again(executable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: pytest.fail("started"))
    helper = ahead._Helper(wanted=True)
    helper.on_start(None)
    helper.wait()


def test_a_process_that_fails_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ahead, "_RUN", "raise SystemExit(1)")
    for executable in (sys.executable, str(tmp_path / "python-that-is-missing")):
        monkeypatch.setattr(sys, "executable", executable)
        helper = ahead._Helper(wanted=True)
        helper.on_start(None)
        helper.wait()


def test_one_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_RUN", "import time; time.sleep(60)")
    monkeypatch.setattr(ahead, "_SECONDS", 0.1)
    helper = ahead._Helper(wanted=True)
    helper.on_start(None)
    process = helper._process
    helper.wait()
    assert process is not None and process.poll() is not None
