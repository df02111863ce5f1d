"""The levels of vector instructions: each gives the same, and is made of the instructions that it is named after."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from vecdb.kernels import simd

TRIPLES = {
    simd.AVX512: ("x86_64-unknown-linux-gnu", "+avx512f,+avx512bw,+avx512vnni", "vpdpbusd"),
    simd.AVX2: ("x86_64-unknown-linux-gnu", "+avx2", "vpmaddwd"),
    simd.NEON: ("aarch64-unknown-linux-gnu", "+neon,+dotprod", "sdot"),
    simd.PORTABLE: ("aarch64-unknown-linux-gnu", "+neon", "mul\tv"),
}


LOOKUP_INSTRUCTIONS = {
    simd.AVX512: re.compile(r"vpshufb\t.*zmm"),
    simd.AVX2: re.compile(r"vpshufb\t.*ymm"),
    simd.NEON: re.compile(r"tbl\tv.*16b"),
}


def run(script: str, level: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VECDB_SIMD": level}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)


def assembly(level: str, result: ir.Type, arguments: list[ir.Type], emit: Callable[..., ir.Value]) -> str:
    """Of a function of what `emit` makes for the level."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple, features, _ = TRIPLES[level]
    module = ir.Module("made")
    module.triple = triple
    function = ir.Function(module, ir.FunctionType(result, arguments), "made")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(emit(level, builder, *function.args))
    machine = llvm.Target.from_triple(triple).create_target_machine(features=features, opt=3)
    compiled = llvm.parse_assembly(str(module))
    compiled.verify()
    return str(machine.emit_assembly(compiled))


@pytest.mark.parametrize("level", simd.LEVELS)
def test_a_level_compiles_to_its_instructions(level: str) -> None:
    pointer, number = ir.IntType(8).as_pointer(), ir.IntType(64)
    *_, instruction = TRIPLES[level]
    assert instruction in assembly(level, ir.IntType(32), [pointer, pointer, number], simd.emit_dot)
    if level in LOOKUP_INSTRUCTIONS:
        sums = ir.VectorType(ir.IntType(16), simd.GROUP)
        made = assembly(level, sums, [pointer, number, pointer], simd.emit_lookups)
        assert LOOKUP_INSTRUCTIONS[level].search(made), made


DOT = """
import numba, numpy as np
from vecdb.kernels import simd
from vecdb.kernels.memory import address_of
call = numba.njit(lambda codes, query, width: simd.dot(codes, query, width))
rng = np.random.default_rng(0)
for width in (64, 128, 384, 1024, 16384):
    for codes, query in (
        (rng.integers(0, 256, width).astype(np.uint8), rng.integers(-128, 128, width).astype(np.int8)),
        (np.full(width, 255, np.uint8), np.full(width, -128, np.int8)),
        (np.full(width, 255, np.uint8), np.full(width, 127, np.int8)),
    ):
        right = int(codes.astype(np.int64) @ query.astype(np.int64))
        assert call(address_of(codes), address_of(query), width) == right, (width, right)
print(simd.LEVEL)
"""

BITS = """
import numba, numpy as np
from vecdb.kernels import simd
from vecdb.kernels.layout import DIM, FRESH, PLANES, SIGN_TERMS, SIGN_WORDS, SIGNS
from vecdb.kernels.memory import Struct, address_of
from vecdb.kernels.signs import _sift_each, _sift_together
each, together = (
    numba.njit(lambda graph, listed, count, limit, scratch: sift(graph, listed, count, limit, scratch))
    for sift in (_sift_each, _sift_together)
)
rng = np.random.default_rng(0)
for words in (6, 8, 14, 54):
    blocks = -(-(words + 2) // 8)
    signs = np.zeros((1001, words + 2), np.int64)
    signs[:-1, :words] = rng.integers(-2**63, 2**63, (1000, words))
    signs[:, words:].view(np.float32)[:] = rng.random((1001, 4))
    planes = np.zeros((simd.QUERY_BITS, 8 * blocks), np.int64)
    planes[:, :words] = rng.integers(-2**63, 2**63, (simd.QUERY_BITS, words))
    terms = rng.random(4).astype(np.float32)
    count = [sum(int(w).bit_count() << p for p in range(4) for w in (row & planes[p, :words]).view(np.uint64))
             for row in signs[:-1, :words]]
    weight, bits, ratio, error = signs[:-1, words:].copy().view(np.float32).astype(np.float64).T
    least = weight - ratio * (terms[0] * np.array(count) + terms[1] * bits + terms[2]) - error * terms[3]
    limit = np.sort(least)[299:301].mean()
    fresh = np.zeros(1008, np.int64)
    graph = Struct(*[np.zeros(384, np.uint8) if n == 4 else 0 for n in range(19)], signs, words + 2)
    scratch = Struct(0, 0, 0, 0, fresh, 0, 0, 0, 0, 0, 0, planes, terms)
    for sift in (each, together):
        for some in (1000, 995, 7, 8, 1):
            listed = rng.permutation(1000)[:some]
            fresh[:some], fresh[some:] = listed, listed[0]
            kept = sift(graph.address, address_of(fresh), some, np.float32(limit), scratch.address)
            assert fresh[:kept].tolist() == listed[least[listed] <= limit].tolist(), (words, some)
print(simd.LEVEL)
"""

LOOKUPS = """
import numba, numpy as np
from vecdb.kernels import simd
from vecdb.kernels.memory import address_of
if simd.LOOKS_UP:
    call = numba.njit(
        lambda group, size, tables, terms, limit: simd.near_in_group(group, size, tables, terms, limit)
    )
    rng = np.random.default_rng(0)
    for size, least, most in ((2, 0, 60), (8, 0, 60), (48, 0, 60), (64, 0, 63), (512, 0, 63), (512, 59, 60)):
        rows = rng.integers(0, 256, (64, size), dtype=np.uint8)
        tables = rng.integers(least, most + 1, (2 * size, 16), dtype=np.uint8)
        tables[rng.random(len(tables)) < 0.2] = most
        numbers, terms = rng.random((4, 64), dtype=np.float32), rng.random(4, dtype=np.float32)
        group = np.concatenate([rows.T.ravel(), numbers.view(np.uint8).ravel()])
        bits = np.stack([rows & 15, rows >> 4], axis=2).reshape(64, -1)
        sums = tables[np.arange(2 * size), bits].sum(axis=1, dtype=np.int64)
        weight, counts, ratio, error = numbers.astype(np.float64)
        least = weight - ratio * (terms[0] * sums + terms[1] * counts + terms[2]) - error * terms[3]
        for rank in (0, 1, 31, 62):
            limit = np.float32((np.sort(least)[rank : rank + 2]).mean())
            near = call(address_of(group), size, address_of(tables), address_of(terms), limit)
            right = sum(1 << lane for lane in range(64) if least[lane] <= limit)
            assert near & (2**64 - 1) == right, (size, rank, hex(near), hex(right))
print(simd.LEVEL)
"""

GRAPH = """
import numpy as np
from tests.kernels.test_hnsw import build
from vecdb.options import Vector
vectors = np.random.default_rng(3).normal(size=(1300, 100)).astype(np.float32)
version = build(vectors, Vector(100, "l2", m=8, ef_construction=40)).present()
found = version.graph.search(vectors[:30] + np.float32(0.1), 5, 20)
print(version.links.gather().tolist(), found.slots.tolist(), found.distances.tolist(), found.compared)
"""


@pytest.mark.parametrize("level", simd.usable_levels())
def test_a_level_computes_what_numpy_does(level: str) -> None:
    assert run(DOT, level).stdout == level + "\n"
    assert run(BITS, level).stdout == level + "\n"
    assert run(LOOKUPS, level).stdout == level + "\n"


def test_every_level_builds_the_same_graph_and_finds_the_same() -> None:
    outputs = {level: run(GRAPH, level).stdout for level in simd.usable_levels()}
    assert len(outputs[simd.PORTABLE]) > 1000
    assert len(set(outputs.values())) == 1, {level: hash(output) for level, output in outputs.items()}


def test_a_level_that_can_not_be_had_is_an_error() -> None:
    done = run("import vecdb.index.graph", "quantum")
    assert "vecdb.errors.ProgrammingError: VECDB_SIMD is 'quantum'; on this machine it can be " in done.stderr


def test_keys_sort_as_their_numbers_do() -> None:
    numbers = np.array([-np.inf, -1e30, -2.5, -1e-40, 0.0, 1e-40, 1.0, 1.0000001, 3e38, np.inf], np.float32)
    keys = [simd._plain_sort_key(number) for number in numbers]
    assert keys == sorted(keys)
    assert [simd._plain_number_of(key) for key in keys] == numbers.tolist()
    assert all(key & 0xFFFFFFFF == 0 for key in keys)
