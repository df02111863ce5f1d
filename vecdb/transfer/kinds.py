"""Types of fields by their names in files and on the command line."""

from __future__ import annotations

from datetime import datetime
from types import GenericAlias
from typing import Any, Final

from vecdb.errors import FieldError

_SCALARS: Final[dict[str, Any]] = {"str": str, "int": int, "float": float, "bool": bool, "datetime": datetime}


def python_type(name: str) -> Any:
    """What `create_table` takes for a type that is stored under a name, such as "list[str]"."""
    if name in _SCALARS:
        return _SCALARS[name]
    inner = name.removeprefix("list[").removesuffix("]")
    if name == f"list[{inner}]" and inner in _SCALARS:
        return GenericAlias(list, (_SCALARS[inner],))
    raise FieldError(f"{name!r} is no type of field; there are {', '.join(_SCALARS)}, and list[...] of one of them")
