"""The data sets: real vectors, their queries, and the fields of their rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_PASSAGE_FIELDS: Final[Mapping[str, type]] = {
    "source": str,
    "doc": str,
    "kind": str,
    "status": str,
    "section": str,
    "text": str,
    "code": str,
    "year": int,
    "position": int,
    "words": int,
}
_PATCH_QUERIES: Final = 1000


class DatasetError(Exception):
    """The data is not there, or is not what it should be."""


@dataclass(frozen=True)
class Dataset:
    name: str
    metric: Literal["cosine", "l2"]
    ids: Sequence[str] | Sequence[int]
    vectors: Float32  # (rows, dim)
    queries: Float32  # (queries, dim), none of them among the rows
    declared: Mapping[str, type]  # fields and their types
    fields: Sequence[dict[str, Any]] | None  # of each row; None where there are none
    query_fields: Sequence[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])


def load_dataset(name: str, folder: Path, rows: int | None) -> Dataset:
    """A data set out of the files in `folder`: all its rows, or `rows` of them."""
    try:
        return DATASETS[name](folder, rows)
    except FileNotFoundError as error:
        raise DatasetError(f"{name}: there is no {error.filename}; --data names the folder with the data") from error


def _load_passages(folder: Path, rows: int | None) -> Dataset:
    """Embeddings of passages of text with their metadata: cosine, 384 dimensions, ids of str."""
    vectors = np.load(folder / "passages.f16.npy", mmap_mode="r")
    chosen = _choose(len(vectors), rows)
    lines = _read_lines(folder / "passages.jsonl.gz")
    if len(lines) != len(vectors):
        raise DatasetError(f"passages: {len(lines)} rows of fields for {len(vectors)} vectors")
    fields = [json.loads(lines[row]) for row in chosen]
    return Dataset(
        name="passages",
        metric="cosine",
        ids=[row.pop("id") for row in fields],
        vectors=vectors[chosen].astype(np.float32),
        queries=np.load(folder / "passages-queries.f16.npy").astype(np.float32),
        declared=_PASSAGE_FIELDS,
        fields=fields,
        query_fields=[json.loads(line) for line in _read_lines(folder / "passages-queries.jsonl.gz")],
    )


def _load_patches(folder: Path, rows: int | None) -> Dataset:
    """SIFT descriptors of photographs, strongly clustered: l2, 128 dimensions, ids of int, no fields."""
    vectors = np.load(folder / "patches.u8.npy", mmap_mode="r")
    chosen = _choose(len(vectors) - _PATCH_QUERIES, rows)
    return Dataset(
        name="patches",
        metric="l2",
        ids=chosen.tolist(),
        vectors=vectors[chosen].astype(np.float32),
        queries=vectors[-_PATCH_QUERIES:].astype(np.float32),
        declared={},
        fields=None,
    )


def _read_lines(file: Path) -> list[str]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return lines.readlines()


def _choose(available: int, wanted: int | None) -> NDArray[np.int64]:
    """Row numbers spread evenly over the whole set, whose parts differ."""
    count = available if wanted is None else min(wanted, available)
    return np.linspace(0, available, count, endpoint=False).astype(np.int64)


DATASETS: Final[Mapping[str, Callable[[Path, int | None], Dataset]]] = {
    "passages": _load_passages,
    "patches": _load_patches,
}
