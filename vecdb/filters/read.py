"""One filter of any notation."""

from __future__ import annotations

from collections.abc import Mapping

from vecdb.errors import FilterError
from vecdb.filters.column import Column, as_filter
from vecdb.filters.mongo import read_dict
from vecdb.filters.tree import Filter


def read_filter(where: object, params: object = None) -> Filter:
    """The tree of a `where=`: SQL text, an expression of `vecdb.col`, or a dict; `params` goes with text alone.

    Raises FilterError, with the place of what can't be read, and LimitError.
    """
    if isinstance(where, str):
        from vecdb.filters.sql import read_text

        return read_text(where, params)
    if params is not None:
        raise FilterError("params goes with a filter of SQL text")
    if isinstance(where, Mapping):
        return read_dict(where)
    if isinstance(where, (Filter, Column)):
        return as_filter(where)
    raise FilterError(
        f"a filter is SQL text, an expression such as vecdb.col('year') > 2019, or a dict; not {type(where).__name__}"
    )
