"""A backup becomes a database again: verified before it gets its name, and never over another file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from vecdb.errors import BackupError, DatabaseError, OperationalError
from vecdb.maintenance.backup import check_destination, check_source, draft_for, finish_draft, restore_into
from vecdb.maintenance.chain import find_chain
from vecdb.maintenance.check import check
from vecdb.maintenance.child import Child, ChildDiedError, Teller
from vecdb.progress import Progress, reporting
from vecdb.storage import keys
from vecdb.storage.header import new_incarnation
from vecdb.storage.keys import Space
from vecdb.storage.private import PrivateFile
from vecdb.storage.records import seal

_STEPS: Final = 1000
_COPIED: Final = 300  # of the steps


def restore(backup: str | os.PathLike[str], dst: str | os.PathLike[str], *, progress: Progress = None) -> str:
    """Make a database at `dst`, where nothing is, of a backup: of a full one, or of an incremental one and those that
    lead to it, which are in its folder. Returns the path.

    The result is checked in full before it appears. It is a database of its own from then on: incremental backups do
    not go on across it. Raises BackupError for a backup that is damaged or lacks one it follows.
    """
    source, place = check_source(backup), check_destination(dst)
    with draft_for(place) as draft, reporting(progress, _STEPS, f"restore of {Path(place).name}") as report:
        with Child(run_restore) as child:
            try:
                child.run(source, draft)
            except ChildDiedError as died:
                raise BackupError(f"{source} could not be restored: its process was ended, {died}") from died
            except OperationalError:
                raise
            except DatabaseError as error:
                raise BackupError(f"{source} could not be restored: {error}") from error
        report(_COPIED)
        found = check(draft, progress=lambda done, total: report(_COPIED + (_STEPS - _COPIED) * done // total))
        if not found.ok:
            first = "; ".join(map(str, found.problems[:3]))
            raise BackupError(f"{source} is damaged, and {place} was not made: {first}")
        finish_draft(draft, place)
        report(_STEPS)
    return place


def run_restore(teller: Teller, source: str, draft: str) -> None:
    """What the process does."""
    with PrivateFile(restore_into(draft, find_chain(source))) as file:
        payload = file.get(Space.HEADER, keys.FORMAT)
        if payload is None:
            raise BackupError(f"{source} has no header")
        sealed = seal(keys.FORMAT, new_incarnation(payload))
        file.write([(Space.HEADER, keys.FORMAT, lambda before: sealed)])
