"""The command line: `python tools/reliability concurrency --minutes 60`, or `python -m tools.reliability`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

if not __package__:
    # Run as a folder: Python put the folder itself on the path, where its files would hide other modules.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.reliability import concurrency, crashes


class Subject(Protocol):
    """A module that tries to break something for a while. Its result prints well, and says whether it passed."""

    HELP: str

    def add_options(self, parser: argparse.ArgumentParser, /) -> None: ...

    def run(self, folder: Path, seconds: float, options: argparse.Namespace, /) -> Any: ...


SUBJECTS: Final[dict[str, Subject]] = {"concurrency": concurrency, "crashes": crashes}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools/reliability", description="Long runs that look for defects.")
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    for name, subject in SUBJECTS.items():
        options = subjects.add_parser(name, help=subject.HELP, description=subject.__doc__)
        options.add_argument("--minutes", type=float, default=60.0, metavar="N", help="how long (default: 60)")
        options.add_argument("--scratch", metavar="FOLDER", help="where files are made, and deleted again")
        subject.add_options(options)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as folder:
        result = SUBJECTS[chosen.subject].run(Path(folder), 60 * chosen.minutes, chosen)
    print(f"{chosen.subject}: {result}")
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
