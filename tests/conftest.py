"""Fixtures: a path for a database, and the promise that whatever a test leaves behind is a sound one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import vecdb
from tests.oracles.invariants import check_file


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a test may put its database; it is checked at the end."""
    place = tmp_path / "test.vecdb"
    yield place
    if place.exists():
        check_file(place)


@pytest.fixture
def db(path: Path) -> Iterator[vecdb.Database]:
    with vecdb.connect(path) as database:
        yield database


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)
