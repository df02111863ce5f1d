"""The subject `search`: recall and speed beside the peers that are installed; builds, single calls, opening, memory."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import vecdb
from tools.bench import report
from tools.bench.arguments import names_of, positive, threads
from tools.bench.beside_hnswlib import CALL_RECALL, Beside, measure_calls, measure_memories, measure_opening
from tools.bench.comparison import Comparison, compare, gains
from tools.bench.contenders import VECDB, name_on, peer_contender, vecdb_contender
from tools.bench.curves import Contender, Curve, find_beam, measure_curves
from tools.bench.datasets import Dataset
from tools.bench.exact import Truth
from tools.bench.fill import TABLE, fill, warm_up
from tools.bench.peers import HNSWLIB, PEERS, Hnswlib, Index, Peer, find_peer
from vecdb.index.threads import usable_cores

HELP: Final = "draw curves of recall and speed beside the peers that are installed, and measure what else counts"
ROWS: Final[Mapping[str, int]] = {"passages": 60_000, "patches": 200_000}
K: Final = 10
_THREADS: Final = 2
_PAIR: Final = (VECDB, HNSWLIB)  # searched on two threads too


@dataclass(frozen=True)
class Threaded:
    """Searches on several threads, and how many times as fast as on one they are, by contender and beam width."""

    threads: int
    speed: Comparison
    gains: dict[str, dict[int, float]]

    def __str__(self) -> str:
        rows = [
            [name, *(f"{figure:.2f}" for figure in (median(gain.values()), min(gain.values()), max(gain.values())))]
            for name, gain in self.gains.items()
        ]
        title = f"{self.threads} threads"
        table = report.grid(f"{title} over one at equal ef", ["", "median", "least", "most"], rows)
        return f"{self.speed.at_equal_recall(title)}\n\n{table}"


@dataclass(frozen=True)
class Result:
    """All figures of one data set; times in seconds, sizes in bytes."""

    rows: int
    dim: int
    metric: str
    build_threads: int  # of the peers
    build_seconds: dict[str, float]
    speed: Comparison  # on one thread
    threaded: Threaded | None  # None where there is one core only
    beside_hnswlib: Beside

    @property
    def title(self) -> str:
        return f"{self.rows:,} rows, {self.dim} dimensions, {self.metric}"

    def __str__(self) -> str:
        sections = [self.title, self._builds(), self.beside_hnswlib.table(self.rows)]
        sections.append(self.speed.at_equal_recall("One thread"))
        if self.threaded is not None:
            sections.append(str(self.threaded))
        return "\n\n".join([*sections, self.speed.by_beam_width("One thread")])

    def _builds(self) -> str:
        own = self.build_seconds[VECDB]
        rows = [[name, report.seconds(taken), report.times(taken / own)] for name, taken in self.build_seconds.items()]
        title = f"Build: {VECDB} durable in its file, peers in memory, --threads {self.build_threads}"
        return report.grid(title, ["", "time", f"time / {VECDB}'s"], rows)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--peers",
        type=names_of(PEERS),
        metavar="NAMES",
        default=list(PEERS),
        help=f"of {', '.join(PEERS)}, separated by commas (default: all that are installed)",
    )
    parser.add_argument(
        "--threads",
        type=threads,
        metavar="N",
        default=min(2, usable_cores()),
        help="peers build on N threads, at most all cores (default: 2)",
    )
    parser.add_argument("--rounds", type=positive, metavar="N", default=2, help="best of N builds (default: 2)")


def measure(dataset: Dataset, folder: Path, options: argparse.Namespace) -> Result:
    """Measure everything, with files in `folder`."""
    file, warm_file = folder / f"{dataset.name}.vecdb", folder / f"{dataset.name}-warm.vecdb"
    report.progress(f"{dataset.name}: compiling kernels")
    warm_up(warm_file, dataset)
    peers = _find_peers(options.peers)
    indexes, build_seconds = _build(dataset, file, peers, options.threads, options.rounds)
    hnswlib = indexes.get(HNSWLIB)
    assert hnswlib is None or isinstance(hnswlib, Hnswlib)
    report.progress(f"{dataset.name}: exact neighbours")
    truth = Truth(dataset, K)
    with vecdb.connect(file, create=False) as db:
        table = db.table(TABLE)
        on_one = _contenders(table, indexes, dataset, 1)
        pair = {name: index for name, index in indexes.items() if name in _PAIR}
        on_several = _contenders(table, pair, dataset, _THREADS) if usable_cores() >= _THREADS else []
        report.progress(f"{dataset.name}: recall and speed")
        curves = measure_curves([*on_one, *on_several], truth, len(dataset.queries))
        report.progress(f"{dataset.name}: single calls")
        beams = {
            contender.name: find_beam(contender, truth, curves[contender.name], CALL_RECALL)
            for contender in on_one
            if contender.name in _PAIR
        }
        call_seconds = measure_calls(table, hnswlib, dataset.queries, K, beams)
    report.progress(f"{dataset.name}: opening and memory")
    hnswlib_file = None if hnswlib is None else hnswlib.save(folder / f"{dataset.name}.hnswlib")
    return Result(
        rows=len(dataset),
        dim=dataset.dim,
        metric=dataset.metric,
        build_threads=options.threads,
        build_seconds=build_seconds,
        speed=compare({contender.name: curves[contender.name] for contender in on_one}),
        threaded=_compare_threaded(curves) if on_several else None,
        beside_hnswlib=Beside(
            beams=beams,
            call_seconds=call_seconds,
            open_seconds=measure_opening(dataset, K, file, hnswlib_file),
            memory=measure_memories(dataset, warm_file, file, hnswlib_file),
        ),
    )


def _find_peers(names: Sequence[str]) -> list[Peer]:
    peers = []
    for name in names:
        peer = find_peer(name)
        if peer is None:
            report.progress(f"{name} is not installed: left out")
        else:
            peers.append(peer)
    return peers


def _build(
    dataset: Dataset, file: Path, peers: Sequence[Peer], on_threads: int, rounds: int
) -> tuple[dict[str, Index], dict[str, float]]:
    """The database, the peers' indexes, and the best time of each; they take turns."""
    indexes: dict[str, Index] = {}
    taken: dict[str, list[float]] = {name: [] for name in (VECDB, *(peer.name for peer in peers))}
    for number in range(1, 1 + rounds):
        report.progress(f"{dataset.name}: round {number} of {rounds}, filling a table with {len(dataset):,} rows")
        file.unlink(missing_ok=True)
        taken[VECDB].append(fill(file, dataset, len(dataset)))
        for peer in peers:
            report.progress(f"{dataset.name}: round {number} of {rounds}, building {peer.name}")
            indexes[peer.name], seconds = peer.build(dataset, on_threads)
            taken[peer.name].append(seconds)
    return indexes, {name: min(seconds) for name, seconds in taken.items()}


def _contenders(table: vecdb.Table, indexes: Mapping[str, Index], dataset: Dataset, on_threads: int) -> list[Contender]:
    peers = (peer_contender(name, index, dataset, K, on_threads) for name, index in indexes.items())
    return [vecdb_contender(table, dataset, K, on_threads), *peers]


def _compare_threaded(curves: Mapping[str, Curve]) -> Threaded:
    """Compare the curves of several threads with each other, and with those of one."""
    threaded = {name: curves[name_on(name, _THREADS)] for name in _PAIR if name in curves}
    return Threaded(_THREADS, compare(threaded), {name: gains(curve, curves[name]) for name, curve in threaded.items()})
