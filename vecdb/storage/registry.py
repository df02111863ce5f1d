"""The environments that are open in this process, one for a file."""

from __future__ import annotations

import os
import threading
from typing import Final

from vecdb.errors import ReadOnlyError, StaleHandleError
from vecdb.storage import preflight
from vecdb.storage.environment import FORKED, Environment, FileKey, identity_of


class Registry:
    """The environments open in this process, by file: LMDB forbids opening a file twice."""

    def __init__(self) -> None:
        # Reentrant, since the garbage collector may close a forgotten handle in the middle of an `acquire`.
        self._lock = threading.RLock()
        self._open: dict[FileKey, Environment] = {}
        self._inherited: set[FileKey] = set()  # open in the parent when this process was forked from it
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def acquire(self, path: str, *, readonly: bool, sync_meta: bool, max_size: int | None) -> Environment:
        """The environment of an existing file, opened unless it is open already."""
        with self._lock:
            identity = identity_of(path)
            if identity in self._inherited:
                raise StaleHandleError(f"{path} was open when this process was forked; {FORKED}")
            environment = self._open.get(identity) if identity else None
            if environment is None:
                self._refuse_a_shared_lock_file(path)
                preflight.inspect(path)
                environment = Environment(path, readonly=readonly, sync_meta=sync_meta, max_size=max_size)
                self._open[environment._identity or (0, 0)] = environment
            elif environment.readonly and not readonly:
                raise ReadOnlyError(f"{path} is open in this process with readonly=True; close that handle first")
            environment.users += 1
            return environment

    def replace(self, environment: Environment, draft: str, timeout: float) -> None:
        """Put a finished file in the place of an environment's; the caller has the turn."""
        environment.replace(draft, timeout)
        with self._lock:
            self._open = {key: value for key, value in self._open.items() if value is not environment}
            self._open[environment._identity or (0, 0)] = environment

    def release(self, environment: Environment) -> None:
        """One user less; the last one closes the environment."""
        with self._lock:
            if environment.users == 1:
                environment.close()
                self._open = {key: value for key, value in self._open.items() if value is not environment}
            environment.users -= 1

    def _refuse_a_shared_lock_file(self, path: str) -> None:
        """The file at `path` was replaced while it was open: two files must not share one lock file."""
        lock = identity_of(path + "-lock")
        if lock and any(environment._lock_identity == lock for environment in self._open.values()):
            raise StaleHandleError(
                f"{path} was replaced while it was open in this process; close all handles on the old file first"
            )

    def _after_fork(self) -> None:
        for environment in self._open.values():
            environment.leave_to_parent()
        self._lock = threading.RLock()
        self._inherited |= self._open.keys()
        self._open = {}


REGISTRY: Final = Registry()
