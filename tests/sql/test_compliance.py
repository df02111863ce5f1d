"""PEP 249 by its public suite, of the package dbapi-compliance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dbapi20
import pytest

from vecdb import dbapi


class TestCompliance(dbapi20.DatabaseAPI20Test):  # type: ignore[misc]
    driver = dbapi

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.connect_args = (str(tmp_path / "compliance.vecdb"),)

    def test_nextset(self) -> None:
        """A statement has one result: there is no `nextset`, which PEP 249 leaves to drivers."""
        assert not hasattr(self._cursor(), "nextset")

    def test_callproc(self) -> None:
        """There are no stored procedures, and no `callproc`."""
        assert not hasattr(self._cursor(), "callproc")

    def test_setoutputsize(self) -> None:
        self._cursor().setoutputsize(1000, 0)

    def test_non_idempotent_close(self) -> None:
        """Closing twice is no error, as the suite would have it, but nothing, as `vecdb.connect` has it."""
        connection = self._connect()
        connection.close()
        connection.close()

    def _cursor(self) -> Any:
        return self._connect().cursor()
