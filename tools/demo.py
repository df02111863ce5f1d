"""What vecdb does, shown on real text: sets up an environment, and has `vecdb demo` there give its tour.

    python tools/demo.py                        five questions
    python tools/demo.py "how do I sort a list" "open a zip file"

Needs Python 3.10 or newer and pip, nothing else: it makes an environment of its own and installs vecdb into it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

if not __package__:
    # Run as a script: Python put this folder on the path, where its files would hide other modules, such as `test`.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tools.environment import ROOT, Environment


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="vecdb on the docstrings of this Python's standard library.")
    parser.add_argument("questions", nargs="*", help="in plain language; five of ours by default", metavar="QUESTION")
    parser.add_argument("--keep", type=Path, help="keep the database in this file, which must not exist yet")
    parser.add_argument(
        "--environment", type=Path, default=ROOT / ".venv-demo", help="folder of the virtual environment"
    )
    options = parser.parse_args(arguments)
    environment = Environment(options.environment)
    environment.install([str(ROOT)], _packaged_files())
    sys.stdout.flush()
    keep = [] if options.keep is None else ["--keep", str(options.keep)]
    program = environment.program("vecdb")
    os.execv(program, [program, "demo", *keep, "--", *options.questions])


def _packaged_files() -> list[Path]:
    package = [path for path in (ROOT / "vecdb").rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    return [ROOT / "pyproject.toml", *package]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
