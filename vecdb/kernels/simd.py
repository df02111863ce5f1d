"""What plain numba does not reach: integer dot products by explicit vector instructions, bits counted by them, and keys
that sort as floats do.

A dot product of u8 codes and an s8 query gives the same integer on every level, so that a file and its graph are the
same on every machine. The level is the best that the processor has, or the one that VECDB_SIMD names:

* avx512: `vpdpbusd`, 64 codes an instruction;
* avx2: `vpmaddwd` on codes widened to 16 bits (`vpmaddubsw` would saturate with codes of 8 bits);
* neon: `sdot` on codes less 128, and the query's sum added back;
* portable: vectors of 16 codes in LLVM's own arithmetic, compiled for whatever there is.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vecdb.kernels.memory import I8, I32, I64, PLAIN, declare, pointer

CODE_BLOCK: Final = 64  # codes of a row are padded to a multiple of it
WORD_BLOCK: Final = 8  # words of a vector register in which bits are counted
ROWS_TOGETHER: Final = 8  # whose bits are counted together
QUERY_BITS: Final = 4  # a dimension, of a query that is compared with bits: so many planes
GROUP: Final = 64  # rows whose signs lie side by side, byte by byte
TABLE_SIZE: Final = 16  # numbers that are looked up by four bits

AVX512, AVX2, NEON, PORTABLE = "avx512", "avx2", "neon", "portable"
LEVELS: Final = (AVX512, AVX2, NEON, PORTABLE)
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    AVX512: ("avx512f", "avx512bw", "avx512vnni"),
    AVX2: ("avx2",),
    NEON: ("dotprod",),
    PORTABLE: (),
}

_FLOAT = ir.FloatType()


_BYTES, _PAIRS = ir.VectorType(I8, GROUP), ir.VectorType(ir.IntType(16), GROUP // 2)


def _features() -> dict[str, bool]:
    """What this processor can."""
    try:
        features: dict[str, bool] = dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM does not know the system
        features = {}
    if platform.machine() in ("arm64", "aarch64") and platform.system() == "Darwin":
        features = {**features, "dotprod": True}  # every processor that macOS runs on, though LLVM can't ask it
    return features


def usable_levels() -> list[str]:
    """The levels that this processor can run, best first."""
    features = _features()
    return [level for level in LEVELS if all(features.get(name) for name in _NEEDS[level])]


def choose_level(wanted: str | None) -> str:
    """The level that VECDB_SIMD asks for, else the best; ValueError for one that can't be had."""
    usable = usable_levels()
    if not wanted:
        return usable[0]
    if wanted not in usable:
        raise ValueError(f"VECDB_SIMD is {wanted!r}; on this machine it can be {', '.join(usable)}, or not set")
    return wanted


LEVEL: Final = choose_level(os.environ.get("VECDB_SIMD"))
# Whether bits of many words are counted by one instruction: then `near_rows`, which reads whole blocks, is fast.
COUNTS_BLOCKS: Final = LEVEL == AVX512 and _features().get("avx512vpopcntdq", False) and not PLAIN
# Whether numbers are looked up by four bits of many rows in one instruction: then `near_in_group` can be had.
LOOKS_UP: Final = LEVEL != PORTABLE and not PLAIN


def emit_dot(level: str, builder: ir.IRBuilder, codes: ir.Value, query: ir.Value, blocks: ir.Value) -> ir.Value:
    """LLVM code for the sum of codes[i] * query[i], u8 times s8, over blocks of CODE_BLOCK; both are byte pointers."""
    emit, lanes = _EMITTERS[level]
    vector = ir.VectorType(I32, lanes)
    allocate: Any = cgutils.alloca_once_value
    sums = [allocate(builder, ir.Constant(vector, [0] * lanes)) for _ in range(2)]
    with cgutils.for_range(builder, blocks) as loop:
        start = builder.mul(loop.index, ir.Constant(loop.index.type, CODE_BLOCK))
        for number, offset in enumerate(range(0, CODE_BLOCK, _CODES[level])):
            place = builder.add(start, ir.Constant(start.type, offset))
            total = sums[number % 2]
            here = builder.gep(codes, [place]), builder.gep(query, [place])
            builder.store(emit(builder, builder.load(total), *here), total)
    both = builder.add(builder.load(sums[0]), builder.load(sums[1]))
    add = declare(builder, f"llvm.vector.reduce.add.v{lanes}i32", I32, [vector])
    return builder.call(add, [both])


def emit_counts(builder: ir.IRBuilder, rows: Sequence[ir.Value], planes: ir.Value, blocks: ir.Value) -> ir.Value:
    """LLVM code for a vector of sums, one for each of ROWS_TOGETHER rows: of 2**p times the bits that it has in common
    with plane p, of QUERY_BITS planes that lie one behind the other. Rows have one or more blocks of WORD_BLOCK words;
    all pointers are of 64 bits."""
    vector = ir.VectorType(I64, ROWS_TOGETHER)
    ones = declare(builder, f"llvm.ctpop.v{ROWS_TOGETHER}i64", vector, [vector])
    allocate: Any = cgutils.alloca_once_value
    totals = [allocate(builder, ir.Constant(vector, [0] * ROWS_TOGETHER)) for _ in rows]
    with cgutils.for_range(builder, blocks) as loop:
        places = [builder.add(_times(builder, blocks, plane), loop.index) for plane in range(QUERY_BITS)]
        others = [_load(builder, builder.gep(planes, [_times(builder, place, WORD_BLOCK)]), vector) for place in places]
        for row, total in zip(rows, totals, strict=True):
            block = _load(builder, builder.gep(row, [_times(builder, loop.index, WORD_BLOCK)]), vector)
            counts = [builder.call(ones, [builder.and_(block, other)]) for other in others]
            count = counts[-1]
            for lower in reversed(counts[:-1]):
                count = builder.add(builder.add(count, count), lower)
            builder.store(builder.add(builder.load(total), count), total)
    return _sum_each(builder, [builder.load(total) for total in totals])


def emit_lookups(level: str, builder: ir.IRBuilder, group: ir.Value, size: ir.Value, tables: ir.Value) -> ir.Value:
    """LLVM code for a vector of sums, one for each of GROUP rows: of what is looked up by each four bits of a row in a
    table of their own, numbers of at most 63; a sum has 16 bits. Rows have `size` bytes, an even number; of a group the
    first byte of each row comes first. Pointers are of bytes.

    So are products with codes of 4 bits summed in F. André et al., "Cache locality is not enough: High-Performance
    Nearest Neighbor Search with Product Quantization Fast Scan", VLDB 2015.
    """
    allocate: Any = cgutils.alloca_once_value
    even, odd = (allocate(builder, ir.Constant(_PAIRS, [0] * (GROUP // 2))) for _ in range(2))
    low, four = ir.Constant(_BYTES, [15] * GROUP), ir.Constant(_BYTES, [4] * GROUP)
    table = ir.VectorType(I8, TABLE_SIZE)
    with cgutils.for_range(builder, builder.udiv(size, ir.Constant(I64, 2))) as loop:
        numbers = []
        for half in range(2):
            place = builder.add(_times(builder, loop.index, 2), ir.Constant(I64, half))
            bits = _load(builder, builder.gep(group, [_times(builder, place, GROUP)]), _BYTES)
            first = _times(builder, place, 2 * TABLE_SIZE)
            for offset, index in ((0, builder.and_(bits, low)), (TABLE_SIZE, builder.lshr(bits, four))):
                at = builder.gep(tables, [builder.add(first, ir.Constant(I64, offset))])
                numbers.append(_emit_lookup(level, builder, _load(builder, at, table), index))
        # Four numbers still fit a byte; then every second byte is added up by itself.
        sums = builder.bitcast(
            builder.add(builder.add(numbers[0], numbers[1]), builder.add(numbers[2], numbers[3])), _PAIRS
        )
        for total, part in (
            (even, builder.and_(sums, ir.Constant(_PAIRS, [255] * (GROUP // 2)))),
            (odd, builder.lshr(sums, ir.Constant(_PAIRS, [8] * (GROUP // 2)))),
        ):
            builder.store(builder.add(builder.load(total), part), total)
    lanes = [row // 2 + GROUP // 2 * (row % 2) for row in range(GROUP)]
    return _pick(builder, builder.load(even), builder.load(odd), lanes)


def _emit_lookup(level: str, builder: ir.IRBuilder, table: ir.Value, indices: ir.Value) -> ir.Value:
    """The numbers of a table at GROUP indices from 0 to 15."""
    name, width = _LOOKUPS[level]
    kind = ir.VectorType(I8, width)
    look = declare(builder, name, kind, [kind, kind])
    repeated = _pick(builder, table, table, [lane % TABLE_SIZE for lane in range(width)])
    parts = [
        builder.call(look, [repeated, _pick(builder, indices, indices, range(first, first + width))])
        for first in range(0, GROUP, width)
    ]
    while len(parts) > 1:
        together = range(2 * parts[0].type.count)
        parts = [_pick(builder, *pair, together) for pair in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


# What looks up bytes by bytes, and how many at once.
_LOOKUPS: Final[Mapping[str, tuple[str, int]]] = {
    AVX512: ("llvm.x86.avx512.pshuf.b.512", 64),
    AVX2: ("llvm.x86.avx2.pshuf.b", 32),
    NEON: ("llvm.aarch64.neon.tbl1.v16i8", 16),
}


def _emit_near(
    builder: ir.IRBuilder, sums: ir.Value, numbers: Sequence[ir.Value], terms: ir.Value, limit: ir.Value
) -> ir.Value:
    """LLVM code for a bit for each row whose `signs.least_distance` is at most the limit: of `sums` of its signs, and
    vectors of its four numbers."""
    kind = numbers[0].type

    def splat(value: ir.Value) -> ir.Value:
        undefined = ir.Constant(kind, ir.Undefined)
        first = builder.insert_element(undefined, value, ir.Constant(I32, 0))
        return _pick(builder, first, undefined, [0] * kind.count)

    weight, bits, ratio, error = numbers
    place = pointer(builder, terms, _FLOAT)
    term = [splat(builder.load(builder.gep(place, [ir.Constant(I64, number)]))) for number in range(4)]
    product = builder.fadd(builder.fadd(builder.fmul(term[0], sums), builder.fmul(term[1], bits)), term[2])
    least = builder.fsub(builder.fsub(weight, builder.fmul(ratio, product)), builder.fmul(error, term[3]))
    return builder.bitcast(builder.fcmp_ordered("<=", least, splat(limit)), ir.IntType(kind.count))


def _sum_each(builder: ir.IRBuilder, vectors: list[ir.Value]) -> ir.Value:
    """The sum of each of so many vectors as they have lanes."""
    lanes = len(vectors)
    step = 1
    while len(vectors) > 1:
        # Of two vectors, lanes whose numbers have the bit are added to those without it, side by side.
        low = [lane + lanes - step if lane & step else lane for lane in range(lanes)]
        high = [lane + lanes if lane & step else lane + step for lane in range(lanes)]
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [builder.add(_pick(builder, *pair, low), _pick(builder, *pair, high)) for pair in pairs]
        step *= 2
    return vectors[0]


def _pick(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, lanes: Sequence[int]) -> ir.Value:
    """A vector of lanes of two, those of the second numbered after the first's."""
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def _times(builder: ir.IRBuilder, number: ir.Value, factor: int) -> ir.Value:
    return builder.mul(number, ir.Constant(number.type, factor))


def _emit_avx512(builder: ir.IRBuilder, total: ir.Value, codes: ir.Value, query: ir.Value) -> ir.Value:
    lanes = total.type
    multiply = declare(builder, "llvm.x86.avx512.vpdpbusd.512", lanes, [lanes] * 3)
    return builder.call(multiply, [total, _load(builder, codes, lanes), _load(builder, query, lanes)])


def _emit_avx2(builder: ir.IRBuilder, total: ir.Value, codes: ir.Value, query: ir.Value) -> ir.Value:
    bytes_, words = ir.VectorType(I8, 16), ir.VectorType(ir.IntType(16), 16)
    multiply = declare(builder, "llvm.x86.avx2.pmadd.wd", total.type, [words, words])
    wide = builder.zext(_load(builder, codes, bytes_), words), builder.sext(_load(builder, query, bytes_), words)
    return builder.add(total, builder.call(multiply, wide))


def _emit_neon(builder: ir.IRBuilder, total: ir.Value, codes: ir.Value, query: ir.Value) -> ir.Value:
    bytes_ = ir.VectorType(I8, 16)
    multiply = declare(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", total.type, [total.type, bytes_, bytes_])
    low = ir.Constant(bytes_, [-128] * 16)
    point = _load(builder, query, bytes_)
    # codes * query = (codes - 128) * query - (-128) * query, as codes - 128 and -128 fit 8 bits with a sign.
    shifted = builder.call(multiply, [total, builder.xor(_load(builder, codes, bytes_), low), point])
    back = builder.call(multiply, [ir.Constant(total.type, [0] * 4), low, point])
    return builder.sub(shifted, back)


def _emit_portable(builder: ir.IRBuilder, total: ir.Value, codes: ir.Value, query: ir.Value) -> ir.Value:
    bytes_, words = ir.VectorType(I8, 16), ir.VectorType(ir.IntType(16), 16)
    # 255 * -128 fits 16 bits.
    product = builder.mul(
        builder.zext(_load(builder, codes, bytes_), words), builder.sext(_load(builder, query, bytes_), words)
    )
    return builder.add(total, builder.sext(product, total.type))


_Emitter = Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value], ir.Value]
# The emitter of a level, and the lanes of its sums; the codes that one step takes.
_EMITTERS: Final[Mapping[str, tuple[_Emitter, int]]] = {
    AVX512: (_emit_avx512, 16),
    AVX2: (_emit_avx2, 8),
    NEON: (_emit_neon, 4),
    PORTABLE: (_emit_portable, 16),
}
_CODES: Final = {AVX512: 64, AVX2: 16, NEON: 16, PORTABLE: 16}


def _load(builder: ir.IRBuilder, place: ir.Value, kind: ir.Type) -> ir.Value:
    value = builder.load(builder.bitcast(place, kind.as_pointer()))
    value.align = 1
    return value


@intrinsic
def _dot(typing: Any, codes: Any, query: Any, width: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        codes, query, width = arguments
        blocks = builder.udiv(width, ir.Constant(I64, CODE_BLOCK))
        return emit_dot(LEVEL, builder, pointer(builder, codes, I8), pointer(builder, query, I8), blocks)

    return types.int32(types.int64, types.int64, types.int64), generate


@intrinsic
def _near_rows(
    typing: Any, slots: Any, signs: Any, stride: Any, planes: Any, blocks: Any, numbers: Any, terms: Any, limit: Any
) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        slots, signs, stride, planes, blocks, numbers, terms, limit = arguments
        lanes = range(ROWS_TOGETHER)
        floats = ir.VectorType(_FLOAT, ROWS_TOGETHER)
        listed, words = pointer(builder, slots, I64), pointer(builder, signs, I64)
        chosen = [builder.load(builder.gep(listed, [ir.Constant(I64, lane)])) for lane in lanes]
        rows = [builder.gep(words, [builder.mul(slot, stride)]) for slot in chosen]
        count = builder.sitofp(emit_counts(builder, rows, pointer(builder, planes, I64), blocks), floats)
        # Four floats a row, as a vector of each.
        kind = ir.VectorType(_FLOAT, 4)
        parts = [_load(builder, builder.gep(row, [numbers]), kind) for row in rows]
        while len(parts) > 1:
            together = range(2 * parts[0].type.count)
            parts = [_pick(builder, *pair, together) for pair in zip(parts[::2], parts[1::2], strict=True)]
        each = [_pick(builder, parts[0], parts[0], [4 * lane + number for lane in lanes]) for number in range(4)]
        return builder.zext(_emit_near(builder, count, each, terms, limit), I64)

    return types.int64(*[types.int64] * 7, types.float32), generate


@intrinsic
def _near_in_group(typing: Any, group: Any, size: Any, tables: Any, terms: Any, limit: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        group, size, tables, terms, limit = arguments
        floats = ir.VectorType(_FLOAT, GROUP)
        signs = pointer(builder, group, I8)
        sums = builder.uitofp(emit_lookups(LEVEL, builder, signs, size, pointer(builder, tables, I8)), floats)
        places = [builder.add(size, ir.Constant(I64, 4 * number)) for number in range(4)]
        numbers = [_load(builder, builder.gep(signs, [_times(builder, at, GROUP)]), floats) for at in places]
        return _emit_near(builder, sums, numbers, terms, limit)

    return types.int64(*[types.int64] * 4, types.float32), generate


@intrinsic
def _trailing_zeros(typing: Any, bits: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        flag = ir.IntType(1)
        count = declare(builder, "llvm.cttz.i64", I64, [I64, flag])
        return builder.call(count, [arguments[0], ir.Constant(flag, 1)])

    return types.int64(types.int64), generate


@intrinsic
def _sort_key(typing: Any, number: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        flipped = _flip(builder, builder.bitcast(arguments[0], I32))
        return builder.shl(builder.sext(flipped, I64), ir.Constant(I64, 32))

    return types.int64(types.float32), generate


@intrinsic
def _number_of(typing: Any, key: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        high = builder.trunc(builder.ashr(arguments[0], ir.Constant(I64, 32)), I32)
        return builder.bitcast(_flip(builder, high), _FLOAT)

    return types.float32(types.int64), generate


def _flip(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    """Between a float's bits and an int of the same order: a negative number's lower bits are inverted."""
    sign = builder.ashr(bits, ir.Constant(I32, 31))
    return builder.xor(bits, builder.lshr(sign, ir.Constant(I32, 1)))


def _plain_dot(codes: Any, query: Any, width: Any) -> Any:
    return int(codes[:width].astype(np.int64) @ query[:width].view(np.int8).astype(np.int64))


def _plain_sort_key(number: Any) -> Any:
    bits = int(np.float32(number).view(np.int32))
    return (bits if bits >= 0 else bits ^ 0x7FFFFFFF) << 32


def _plain_number_of(key: Any) -> Any:
    bits = int(key) >> 32
    return np.int32(bits if bits >= 0 else bits ^ 0x7FFFFFFF).view(np.float32)


# dot(address of u8 codes, address of an s8 query, width) → int32
# sort_key(float32) → int64 that sorts as it, its lower half 0; number_of(key) → the float32
# near_rows(address of ROWS_TOGETHER slots, of signs, words of a row, address of planes, blocks, words before a row's
# numbers, address of terms, limit) → int64: a bit for each row whose `signs.least_distance` is at most the limit
# near_in_group(address of a group's bytes, bytes of a row, address of tables, of terms, limit) → int64: the same for
# the rows of a group, whose numbers come after its bytes, as vectors of each
# trailing_zeros(int64, not 0) → int64
dot: Any = _plain_dot if PLAIN else _dot
near_rows: Any = _near_rows
near_in_group: Any = _near_in_group
trailing_zeros: Any = _trailing_zeros
sort_key: Any = _plain_sort_key if PLAIN else _sort_key
number_of: Any = _plain_number_of if PLAIN else _number_of
