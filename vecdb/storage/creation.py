"""Making a new file: whole under another name first, then given its own, so that no half-made one is ever seen."""

from __future__ import annotations

import os
from contextlib import suppress

import lmdb

from vecdb.errors import DatabaseNotFoundError, ReadOnlyError, StorageFullError, StorageIOError
from vecdb.options import DEFAULT_TIMEOUT, MIN_MAP
from vecdb.storage.environment import NO_SPACE, sync_folder
from vecdb.storage.gate import WriterGate
from vecdb.storage.header import write_new
from vecdb.storage.keys import Space
from vecdb.storage.records import seal
from vecdb.storage.view import PendingWrites


def create_database(path: str) -> None:
    """Put an empty database at `path`, where nothing or an empty file is; leave one that somebody else just made."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise DatabaseNotFoundError(f"there is no folder {folder} to create {os.path.basename(path)} in")
    draft = f"{path}.new-{os.urandom(8).hex()}"
    try:
        try:
            _write_draft(draft)
            _give_name(draft, path)
            sync_folder(folder)
        finally:
            for leftover in (draft, draft + "-lock"):
                with suppress(FileNotFoundError):
                    os.unlink(leftover)
    except (OSError, lmdb.Error) as error:
        code = getattr(error, "errno", None) or getattr(error, "code", 0)
        if code in NO_SPACE:
            raise StorageFullError(f"{path} could not be created: no space left on the disk") from error
        if isinstance(error, PermissionError) or (os.access(folder, os.F_OK) and not os.access(folder, os.W_OK)):
            raise ReadOnlyError(f"{path} could not be created: {folder} may not be written") from error
        raise StorageIOError(f"{path} could not be created: {error}") from error


def give_new_name(draft: str, path: str) -> None:
    """Make a whole, synced file appear under its final name, and nothing be overwritten: FileExistsError otherwise."""
    try:
        os.link(draft, path)
        os.unlink(draft)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links; rename would overwrite a file that came in between.
        if os.path.exists(path):
            raise FileExistsError(path) from None
        os.rename(draft, path)
    sync_folder(os.path.dirname(os.path.abspath(path)))


def _write_draft(draft: str) -> None:
    writes = PendingWrites.on_nothing()
    write_new(writes)
    environment = lmdb.open(draft, map_size=MIN_MAP, subdir=False, mode=0o600, max_dbs=len(Space), lib_version=0)
    try:
        spaces = {space: environment.open_db(space.value) for space in Space}
        with environment.begin(write=True) as transaction:
            for space, records in writes.changes.items():
                for key, value in records.items():
                    transaction.put(key, seal(key, value or b""), db=spaces[space])
        environment.sync(True)
    finally:
        environment.close()


def _give_name(draft: str, path: str) -> None:
    if os.path.exists(path) and os.path.getsize(path) == 0:
        _replace_empty(draft, path)
        return
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    except OSError:
        # A file system without hard links; rename would overwrite a file that came in between.
        if not os.path.exists(path):
            os.rename(draft, path)


def _replace_empty(draft: str, path: str) -> None:
    """Put the draft in the place of an empty file, unless another process just did: both lock the empty one."""
    gate, turn = WriterGate(path), object()
    empty = os.stat(path)
    try:
        gate.acquire(turn, DEFAULT_TIMEOUT)
        if os.path.samestat(os.stat(path), empty) and os.path.getsize(path) == 0:
            os.replace(draft, path)
    finally:
        gate.release(turn)
        gate.close()
