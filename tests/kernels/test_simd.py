"""The levels of vector instructions: each gives the same, and is made of the instructions that it is named after."""

from __future__ import annotations

import os
import subprocess
import sys

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


def run(script: str, level: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VECDB_SIMD": level}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("level", simd.LEVELS)
def test_a_level_compiles_to_its_instructions(level: str) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple, features, instruction = TRIPLES[level]
    module = ir.Module("dot")
    module.triple = triple
    pointer = ir.IntType(8).as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.IntType(32), [pointer, pointer, ir.IntType(64)]), "dot")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(simd.emit_dot(level, builder, *function.args))
    machine = llvm.Target.from_triple(triple).create_target_machine(features=features, opt=3)
    compiled = llvm.parse_assembly(str(module))
    compiled.verify()
    assert instruction in machine.emit_assembly(compiled)


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
from vecdb.kernels.memory import address_of
from vecdb.kernels.signs import _count_words
call = numba.njit(lambda bits, planes, blocks: simd.count_blocks(bits, planes, blocks))
by_words = numba.njit(lambda bits, planes, words, plane: _count_words(bits, planes, words, plane))
rng = np.random.default_rng(0)
for blocks in (1, 2, 3, 7, 40):
    bits = rng.integers(-2**63, 2**63, 8 * blocks)
    planes = rng.integers(-2**63, 2**63, (simd.QUERY_BITS, 8 * blocks))
    right = sum(int(word).bit_count() << plane for plane in range(4) for word in (bits & planes[plane]).view(np.uint64))
    assert call(address_of(bits), address_of(planes), blocks) == right, blocks
    assert by_words(address_of(bits), address_of(planes), 8 * blocks, 8 * blocks) == right, blocks
print(simd.LEVEL)
"""

GRAPH = """
import numpy as np
from tests.kernels.test_hnsw import build
from vecdb.index import graph
from vecdb.options import Vector
vectors = np.random.default_rng(3).normal(size=(1300, 100)).astype(np.float32)
version = build(vectors, Vector(100, "l2", m=8, ef_construction=40)).present()
found = graph.search(version.graph, vectors[:30] + np.float32(0.1), 5, 20)
print(version.links.gather().tolist(), found.slots.tolist(), found.distances.tolist(), found.compared)
"""


@pytest.mark.parametrize("level", simd.usable_levels())
def test_a_level_computes_what_numpy_does(level: str) -> None:
    assert run(DOT, level).stdout == level + "\n"
    assert run(BITS, level).stdout == level + "\n"


def test_every_level_builds_the_same_graph_and_finds_the_same() -> None:
    outputs = {level: run(GRAPH, level).stdout for level in simd.usable_levels()}
    assert len(outputs[simd.PORTABLE]) > 1000
    assert len(set(outputs.values())) == 1, {level: hash(output) for level, output in outputs.items()}


def test_a_level_that_can_not_be_had_is_an_error() -> None:
    done = run("import tests.kernels.test_hnsw", "quantum")
    assert "vecdb.errors.ProgrammingError: VECDB_SIMD is 'quantum'; on this machine it can be " in done.stderr


def test_keys_sort_as_their_numbers_do() -> None:
    numbers = np.array([-np.inf, -1e30, -2.5, -1e-40, 0.0, 1e-40, 1.0, 1.0000001, 3e38, np.inf], np.float32)
    keys = [simd._plain_sort_key(number) for number in numbers]
    assert keys == sorted(keys)
    assert [simd._plain_number_of(key) for key in keys] == numbers.tolist()
    assert all(key & 0xFFFFFFFF == 0 for key in keys)
