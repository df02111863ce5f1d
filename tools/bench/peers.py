"""The peers: libraries of indexes in memory, each with one way of using it, where they are installed.

All hold the vectors alone, without ids, fields or a file. Graphs have the measures of vecdb's defaults: 16 neighbours,
32 on the base layer, and a beam of 200 in the build; Vamana, which has no other layer, 64 as its authors recommend.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tools.bench.datasets import Dataset, Float32

Labels = NDArray[Any]

HNSWLIB: Final = "hnswlib"
# How graphs of peers are built, whatever the defaults of vecdb are.
_M: Final = 16
_EF_CONSTRUCTION: Final = 200
_REFINED: Final = 4  # rows that are compared in full for each of the k, where a graph is searched in codes
_VAMANA_DEGREE: Final = 64
_VAMANA_ALPHA: Final = 1.2


class Index(Protocol):
    def search(self, queries: Float32, k: int, ef: int, threads: int, /) -> Labels:
        """Row numbers of the nearest rows, (queries, k) of any kind of integer, -1 where there is none."""


class Peer(NamedTuple):
    name: str
    module: str
    make: Callable[[Any, Dataset, int], Index]  # with the module, on so many threads

    def build(self, dataset: Dataset, threads: int) -> tuple[Index, float]:
        """An index of the vectors, and the seconds it took."""
        module = import_module(self.module)
        start = time.perf_counter()
        index = self.make(module, dataset, threads)
        return index, time.perf_counter() - start


def find_peer(name: str) -> Peer | None:
    """A peer, None where it is not installed."""
    peer = PEERS[name]
    try:
        import_module(peer.module)
    except ImportError:
        return None
    return peer


@dataclass(frozen=True)
class Hnswlib:
    index: Any

    def search(self, queries: Float32, k: int, ef: int, threads: int) -> Labels:
        self.index.set_ef(ef)
        labels: Labels = self.index.knn_query(queries, k, num_threads=threads)[0]
        return labels

    def save(self, file: Path) -> Path:
        self.index.save_index(str(file))
        return file


def make_hnswlib(hnswlib: Any, dataset: Dataset, threads: int) -> Hnswlib:
    index = hnswlib.Index(space=dataset.metric, dim=dataset.dim)
    index.init_index(len(dataset), M=_M, ef_construction=_EF_CONSTRUCTION)
    index.add_items(dataset.vectors, num_threads=threads)
    return Hnswlib(index)


def load_hnswlib(file: Path, dataset: Dataset) -> Hnswlib:
    """The index that `Hnswlib.save` wrote."""
    import hnswlib

    index = hnswlib.Index(space=dataset.metric, dim=dataset.dim)
    index.load_index(str(file))
    return Hnswlib(index)


@dataclass(frozen=True)
class Faiss:
    faiss: Any
    index: Any
    refines: bool

    def search(self, queries: Float32, k: int, ef: int, threads: int) -> Labels:
        self.faiss.omp_set_num_threads(threads)
        parameters = self.faiss.SearchParametersHNSW(efSearch=ef)
        if self.refines:
            # Not more than the beam holds, or faiss widens it.
            factor = min(_REFINED, ef / k)
            parameters = self.faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=parameters)
        labels: Labels = self.index.search(queries, k, params=parameters)[1]
        return labels


def make_faiss(faiss: Any, dataset: Dataset, threads: int) -> Faiss:
    return _fill_faiss(faiss, faiss.IndexHNSWFlat(dataset.dim, _M, faiss.METRIC_L2), dataset, threads, False)


def make_faiss_codes(faiss: Any, dataset: Dataset, threads: int) -> Faiss:
    """The graph is built and searched in codes of 8 bits a number; the best rows are compared in float32."""
    kind = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexHNSWSQ(dataset.dim, kind, _M, faiss.METRIC_L2)
    return _fill_faiss(faiss, index, dataset, threads, True)


def _fill_faiss(faiss: Any, graph: Any, dataset: Dataset, threads: int, refines: bool) -> Faiss:
    faiss.omp_set_num_threads(threads)
    graph.hnsw.efConstruction = _EF_CONSTRUCTION
    index = faiss.IndexRefineFlat(graph) if refines else graph
    vectors = _euclidean(dataset)
    index.train(vectors)
    index.add(vectors)
    return Faiss(faiss, index, refines)


@dataclass(frozen=True)
class Usearch:
    index: Any

    def search(self, queries: Float32, k: int, ef: int, threads: int) -> Labels:
        self.index.expansion_search = ef
        labels: Labels = self.index.search(queries, k, threads=threads).keys
        return labels


def make_usearch(usearch: Any, dataset: Dataset, threads: int) -> Usearch:
    return _fill_usearch(usearch, dataset, threads, "f32")


def make_usearch_half(usearch: Any, dataset: Dataset, threads: int) -> Usearch:
    return _fill_usearch(usearch, dataset, threads, "f16")


def _fill_usearch(usearch: Any, dataset: Dataset, threads: int, dtype: str) -> Usearch:
    index = usearch.Index(
        ndim=dataset.dim,
        metric="cos" if dataset.metric == "cosine" else "l2sq",
        dtype=dtype,
        connectivity=_M,
        expansion_add=_EF_CONSTRUCTION,
    )
    index.add(np.arange(len(dataset)), dataset.vectors, threads=threads)
    return Usearch(index)


@dataclass(frozen=True)
class Svs:
    index: Any

    def search(self, queries: Float32, k: int, ef: int, threads: int) -> Labels:
        self.index.search_window_size = ef
        if self.index.num_threads != threads:
            self.index.num_threads = threads
        labels: Labels = self.index.search(queries, k)[0]
        return labels


def make_svs(svs: Any, dataset: Dataset, threads: int) -> Svs:
    """In float16. Its codes are smaller, but end the process on a processor that is not Intel's."""
    parameters = svs.VamanaBuildParameters(
        graph_max_degree=_VAMANA_DEGREE, window_size=_EF_CONSTRUCTION, alpha=_VAMANA_ALPHA
    )
    vectors = _euclidean(dataset).astype(np.float16)
    return Svs(svs.Vamana.build(parameters, vectors, svs.DistanceType.L2, num_threads=threads))


def _euclidean(dataset: Dataset) -> Float32:
    """Vectors whose Euclidean distances to any query order rows as the metric does: of length 1 under cosine."""
    if dataset.metric == "l2":
        return dataset.vectors
    vectors: Float32 = dataset.vectors / np.linalg.norm(dataset.vectors, axis=1, keepdims=True)
    return vectors


PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer(HNSWLIB, "hnswlib", make_hnswlib),
        Peer("faiss", "faiss", make_faiss),
        Peer("faiss-sq8", "faiss", make_faiss_codes),
        Peer("usearch", "usearch.index", make_usearch),
        Peer("usearch-f16", "usearch.index", make_usearch_half),
        Peer("svs-f16", "svs", make_svs),
    )
}
