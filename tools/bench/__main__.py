"""The command line: `python tools/bench load --data FOLDER`, or `python -m tools.bench`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Protocol

if not __package__:
    # Run as a folder: Python put the folder itself on the path, where its files would hide other modules.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.bench import backup, churn, concurrency, filters, load, plot, report, search, sql
from tools.bench.arguments import folder, names_of, output, positive
from tools.bench.datasets import DATASETS, Dataset, DatasetError, load_dataset
from tools.bench.machine import describe_machine

DATA_VARIABLE: Final = "VECDB_BENCH_DATA"


class Subject(Protocol):
    """A module that measures one data set. Its result is a dataclass, prints well, and has curves."""

    HELP: str
    ROWS: Mapping[str, int]  # of each data set, where it is not all

    def add_options(self, parser: argparse.ArgumentParser, /) -> None: ...

    def measure(self, dataset: Dataset, folder: Path, options: argparse.Namespace, /) -> Any: ...


SUBJECTS: Final[dict[str, Subject]] = {
    "load": load,
    "search": search,
    "filters": filters,
    "churn": churn,
    "concurrency": concurrency,
    "backup": backup,
    "sql": sql,
}


def main(arguments: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    options = _parse(words)
    subject = SUBJECTS[options.subject]
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    run = report.Run(options.subject, _command(words, options), date, describe_machine())
    print(report.facts("Machine", run.machine))
    results: dict[str, Any] = {}
    try:
        for name in options.datasets:
            dataset = load_dataset(name, options.data, options.rows or subject.ROWS.get(name))
            with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
                results[name] = subject.measure(dataset, Path(scratch), options)
            print(f"\n{name}: {results[name]}", flush=True)
            if options.json is not None:
                report.write_json(options.json, run, results)
            if options.plot is not None:
                plot.write_plot(options.plot, run, results)
    except DatasetError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _command(words: Sequence[str], options: argparse.Namespace) -> str:
    """What was typed, but for the names of folders and files, which mean something on this machine only."""
    names = {options.data: "FOLDER", options.scratch: "FOLDER", options.json: "OUT.json", options.plot: "OUT.html"}
    shown = []
    for word in words:
        option, equals, value = word.rpartition("=")
        shown.append(f"{option}{equals}{names.get(Path(value), value)}")
    return shlex.join(["python", "tools/bench", *shown])


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/bench", description="Benchmarks of vecdb on real vectors.")
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    for name, subject in SUBJECTS.items():
        options = subjects.add_parser(name, help=subject.HELP, description=subject.__doc__)
        _add_options(options, subject.ROWS)
        subject.add_options(options)
    chosen = parser.parse_args(words)
    if chosen.data is None:
        parser.error(f"no data: name its folder with --data, or in the environment variable {DATA_VARIABLE}")
    return chosen


def _add_options(parser: argparse.ArgumentParser, rows: Mapping[str, int]) -> None:
    parser.add_argument(
        "--data",
        type=folder,
        metavar="FOLDER",
        default=os.environ.get(DATA_VARIABLE),
        help=f"where the data sets are (default: the environment variable {DATA_VARIABLE})",
    )
    most = ", ".join(f"{count:,} of {name}" for name, count in rows.items()) or "all"
    parser.add_argument(
        "--rows", type=positive, metavar="N", help=f"use N rows of each data set, or all it has (default: {most})"
    )
    parser.add_argument(
        "--datasets",
        type=names_of(DATASETS),
        metavar="NAMES",
        default=list(DATASETS),
        help=f"of {', '.join(DATASETS)}, separated by commas",
    )
    parser.add_argument("--json", type=output, metavar="OUT.json", help="write all figures to this file")
    parser.add_argument("--plot", type=output, metavar="OUT.html", help="draw the curves on this page")
    parser.add_argument(
        "--scratch",
        type=folder,
        metavar="FOLDER",
        help="where database files are made, and deleted again: on the disk to be measured, not in memory "
        "(default: the system's temporary folder)",
    )


if __name__ == "__main__":
    sys.exit(main())
