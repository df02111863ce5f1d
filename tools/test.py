"""Every check of the project: lint, format, types, import contracts, tests.

    python tools/test.py                         all of them, up to the first that fails
    python tools/test.py tests/crash -k kill     only pytest, with these arguments

Makes an environment of its own in .venv-test, again when pyproject.toml has changed. Needs Python 3.10 or newer and
pip, nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

if not __package__:
    # Run as a script: Python put this folder on the path, where this very file would hide the module `test`.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tools.environment import ROOT, Environment

# Tests wait for disks and other processes about half of their time: two run at once.
TESTS = ("pytest", "--numprocesses", "2", "--dist", "worksteal")
CHECKS = (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",), ("lint-imports",), TESTS)


def main(arguments: list[str]) -> int:
    if arguments in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if arguments[:1] == ["--"]:
        del arguments[0]
    environment = Environment(ROOT / ".venv-test")
    environment.install(["--editable", f"{ROOT}[test]"], [ROOT / "pyproject.toml"])
    checks = [("pytest", *arguments)] if arguments else CHECKS
    return 0 if all(_passes(environment, check) for check in checks) else 1


def _passes(environment: Environment, check: tuple[str, ...]) -> bool:
    """Run a check. Only exit code 0 passes: pytest's 5 means that it found no test to run."""
    name = " ".join(check)
    print(f"\n== {name}", flush=True)
    start = time.perf_counter()
    code = subprocess.run([environment.program(check[0]), *check[1:]], cwd=ROOT, check=False).returncode
    outcome = "passed" if code == 0 else f"FAILED with exit code {code}"
    print(f"== {name}: {outcome} in {time.perf_counter() - start:.1f} s", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
