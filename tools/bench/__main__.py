"""The command line: `python tools/bench load --data FOLDER`, or `python -m tools.bench`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

if not __package__:
    # Run as a folder: Python put the folder itself on the path, where its files would hide other modules.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.bench import load, report
from tools.bench.datasets import DATASETS, Dataset, DatasetError, load_dataset
from tools.bench.machine import describe_machine

DATA_VARIABLE: Final = "VECDB_BENCH_DATA"


class Subject(Protocol):
    """A module that measures one data set. Its result is a dataclass, and prints well."""

    HELP: str

    def measure(self, dataset: Dataset, folder: Path, batch: int | None, /) -> Any: ...


SUBJECTS: Final[dict[str, Subject]] = {"load": load}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    machine = describe_machine()
    print(report.facts("Machine", machine))
    results: dict[str, Any] = {}
    try:
        for name in options.datasets:
            dataset = load_dataset(name, options.data, options.rows)
            with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
                results[name] = SUBJECTS[options.subject].measure(dataset, Path(folder), options.batch)
            print(f"\n{name}: {results[name]}", flush=True)
            if options.json is not None:
                report.write_json(options.json, options.subject, machine, results)
    except DatasetError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/bench", description="Benchmarks of vecdb on real vectors.")
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    for name, subject in SUBJECTS.items():
        _add_options(subjects.add_parser(name, help=subject.HELP, description=subject.__doc__))
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error(f"no data: name its folder with --data, or in the environment variable {DATA_VARIABLE}")
    return options


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=_folder,
        metavar="FOLDER",
        default=os.environ.get(DATA_VARIABLE),
        help=f"where the data sets are (default: the environment variable {DATA_VARIABLE})",
    )
    parser.add_argument("--rows", type=_positive, metavar="N", help="use N rows of each data set (default: all)")
    parser.add_argument(
        "--datasets", type=_dataset_names, metavar="NAMES", default=list(DATASETS), help=f"of {', '.join(DATASETS)}"
    )
    parser.add_argument(
        "--batch", type=_positive, metavar="N", help="insert N rows at once (default: all, in one transaction)"
    )
    parser.add_argument("--json", type=_output, metavar="OUT", help="write all figures to this file")
    parser.add_argument(
        "--scratch",
        type=_folder,
        metavar="FOLDER",
        help="where database files are made, and deleted again: on the disk to be measured, not in memory "
        "(default: the system's temporary folder)",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _folder(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return folder


def _output(text: str) -> Path:
    file = Path(text)
    _folder(str(file.parent))
    return file


def _dataset_names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in DATASETS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(DATASETS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
