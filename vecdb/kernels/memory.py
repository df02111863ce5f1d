"""Memory as kernels see it: addresses, and numbers read from and written to them.

Numba counts references to the arrays that a function gets or takes out of a tuple, at every call and branch, which
costs more than the work of a small function does, and multiplies the time to compile it. So kernels get a `Struct`:
addresses of arrays, and numbers. Whoever makes one keeps it while a kernel runs; bounds are not checked.

With NUMBA_DISABLE_JIT the same kernels run as plain Python, addresses are flat arrays, and bounds are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import addressof, c_char
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core import config as numba_config
from numba.extending import intrinsic
from numpy.typing import NDArray

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
BYTES = I8.as_pointer()

# How near the processor is to bring what is fetched ahead (3 would be its first cache): there is room for all rows that
# a step of a walk compares, and more of them are under way at once.
_TO_L2: Final = 2
CACHE_LINE: Final = 64  # bytes
_MOST_FIELDS: Final = 32  # at least as many as any struct has

_SETTINGS: Any = numba_config
PLAIN: Final = bool(_SETTINGS.DISABLE_JIT)  # kernels run as plain Python


def address_of(array: NDArray[Any]) -> Any:
    """What kernels take for a C-contiguous array; valid while the array is."""
    if PLAIN:
        return np.ravel(array)
    if array.size == 0:
        return 0
    try:
        return addressof(c_char.from_buffer(array))  # type: ignore[arg-type]  # in a third of the time
    except TypeError:  # of an array that is read-only
        return array.ctypes.data


class Struct:
    """Arrays, C-contiguous, and numbers in a fixed order, for kernels to read with `field`."""

    __slots__ = ("_items", "_numbers", "address")

    def __init__(self, *items: NDArray[Any] | int) -> None:
        self._items: Any = items  # lest the arrays be collected
        numbers: Any = [address_of(item) if isinstance(item, np.ndarray) else item for item in items]
        self._numbers = numbers if PLAIN else np.array(numbers, np.int64)
        self.address = numbers if PLAIN else address_of(self._numbers)

    def replaced(self, items: Mapping[int, NDArray[Any] | int]) -> Struct:
        """A copy with other items, by their numbers."""
        copy = Struct.__new__(Struct)
        copy._items = (self._items, items)
        copy._numbers = self._numbers.copy()
        for number, item in items.items():
            copy._numbers[number] = address_of(item) if isinstance(item, np.ndarray) else item
        copy.address = copy._numbers if PLAIN else address_of(copy._numbers)
        return copy

    def set(self, number: int, value: int) -> None:
        """Change a number."""
        self._numbers[number] = value


def empty_struct() -> Struct:
    """In the place of any, for a call that reads nothing."""
    return Struct(*[0] * _MOST_FIELDS)


def pointer(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    return builder.inttoptr(address, kind.as_pointer())


def declare(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    """A function of LLVM's own."""
    insert: Any = cgutils.get_or_insert_function
    return insert(builder.module, ir.FunctionType(result, arguments), name)


def _getter(stored: ir.Type, size: int, result: Any, widen: str | None, *, constant: bool = False) -> Any:
    """An intrinsic (address, index) → an item of that stored type. No kernel writes to what is `constant`, so that it
    need not be read again after each write to something else."""

    @intrinsic
    def get(typing: Any, address: Any, index: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            item = builder.load(builder.gep(pointer(builder, arguments[0], stored), [arguments[1]]))
            item.align = size
            if constant:
                item.set_metadata("invariant.load", builder.module.add_metadata([]))
            return item if widen is None else getattr(builder, widen)(item, I64)

        return result(types.int64, types.int64), generate

    return get


def _setter(stored: ir.Type, size: int, value: Any) -> Any:
    """An intrinsic (address, index, value) that stores an item."""

    @intrinsic
    def put(typing: Any, address: Any, index: Any, number: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            address, index, number = arguments
            item = number if number.type == stored else builder.trunc(number, stored)
            store = builder.store(item, builder.gep(pointer(builder, address, stored), [index]))
            store.align = size
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, value), generate

    return put


@intrinsic
def _shift(typing: Any, address: Any, items: Any, size: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        address, items, size = arguments
        return builder.add(address, builder.mul(items, size))

    return types.int64(types.int64, types.int64, types.int64), generate


@intrinsic
def _prefetch(typing: Any, address: Any, offset: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        place = builder.gep(pointer(builder, arguments[0], I8), [arguments[1]])
        fetch = declare(builder, "llvm.prefetch.p0i8", ir.VoidType(), [BYTES, I32, I32, I32])
        builder.call(fetch, [place, *(ir.Constant(I32, number) for number in (0, _TO_L2, 1))])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def _call(typing: Any, address: Any, *numbers: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        address, packed = arguments
        unpack: Any = cgutils.unpack_tuple
        given = unpack(builder, packed)
        function = pointer(builder, address, ir.FunctionType(I64, [I64] * len(given)))
        return builder.call(function, given)

    together: Any = types.StarArgTuple
    return types.int64(types.int64, together.from_types(numbers)), generate


@intrinsic
def _popcount(typing: Any, word: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return builder.call(declare(builder, "llvm.ctpop.i64", I64, [I64]), [arguments[0]])

    return types.int64(types.int64), generate


def _plain_get(array: Any, index: Any) -> Any:
    if not 0 <= index < len(array):
        raise IndexError(index)
    item = array[index]
    return item if isinstance(item, (np.ndarray, np.floating)) or callable(item) else int(item)


def _plain_get_f32(array: Any, index: Any) -> Any:
    return _plain_get(array.view(np.float32), index)


def _plain_set(array: Any, index: Any, value: Any) -> None:
    if not 0 <= index < len(array):
        raise IndexError(index)
    array[index] = value


def _plain_set_f32(array: Any, index: Any, value: Any) -> None:
    _plain_set(array.view(np.float32), index, value)


def _plain_shift(array: Any, items: Any, size: Any) -> Any:
    assert array.itemsize == size
    return array[items:]


_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()
_COMPILED: Final[dict[str, Any]] = {
    "field": _getter(I64, 8, types.int64, None),
    "get_u8": _getter(I8, 1, types.int64, "zext"),
    "get_i32": _getter(I32, 4, types.int64, "sext"),
    "get_i64": _getter(I64, 8, types.int64, None),
    "get_f32": _getter(_FLOAT, 4, types.float32, None),
    "get_f64": _getter(_DOUBLE, 8, types.float64, None),
    "set_u8": _setter(I8, 1, types.int64),
    "set_i32": _setter(I32, 4, types.int64),
    "set_i64": _setter(I64, 8, types.int64),
    "set_f32": _setter(_FLOAT, 4, types.float32),
    "set_f64": _setter(_DOUBLE, 8, types.float64),
    "shift": _shift,
    "prefetch": _prefetch,
    "popcount": _popcount,
    "call": _call,
}
_PLAIN: Final[dict[str, Callable[..., Any]]] = {
    "get_f32": _plain_get_f32,
    "set_f32": _plain_set_f32,
    "shift": _plain_shift,
    "prefetch": lambda array, offset: None,
    "popcount": lambda word: (int(word) & 0xFFFFFFFFFFFFFFFF).bit_count(),
    "call": lambda function, *numbers: function(*numbers),
}


def _choose(name: str) -> Any:
    if not PLAIN:
        return _COMPILED[name]
    return _PLAIN.get(name, _plain_set if name.startswith("set") else _plain_get)


field: Any = _choose("field")  # (struct's address, its number) → an address or a number
get_u8: Any = _choose("get_u8")  # (address, index) → an item; ints are widened to 64 bits
get_i32: Any = _choose("get_i32")
get_i64: Any = _choose("get_i64")
get_f32: Any = _choose("get_f32")
set_u8: Any = _choose("set_u8")  # (address, index, item); ints are cut to their size
set_i32: Any = _choose("set_i32")
set_i64: Any = _choose("set_i64")
set_f32: Any = _choose("set_f32")
get_f64: Any = _choose("get_f64")
set_f64: Any = _choose("set_f64")
shift: Any = _choose("shift")  # (address, items, bytes an item) → the address that many items on
prefetch: Any = _choose("prefetch")  # (address, bytes from it): have a cache line brought nearer
popcount: Any = _choose("popcount")  # of a number of 64 bits: how many are set
call: Any = _choose("call")  # (address, numbers...) of a `jit.Shared` function → a number; all have 64 bits
