"""Similarity of one query to sixteen coded keys at once: the only place where the instruction set shows.

What: a compiled building block for scan.py. Sixteen keys lie together, four bytes of each in turn (coding.py), so that
one 64-byte load serves sixteen sums and no sum is ever taken across a vector. On processors with the byte dot-product
instruction (AVX-512 VNNI) it is named; elsewhere the same integers come from ordinary vector code that the
compiler lowers to what there is. Both are exact integer sums, so their results are equal bit by bit (a test compares
them), and the processor can change speed only.
Measured on an EPYC with it: 5,000 keys of 64 components in docs/memory.md. Source: the layout is that of fast-scan
product quantisation (Andre et al. 2015) with plain bytes. Shapes: one block is [D / 4, 16, 4] bytes. Units: none.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numba.np import arrayobj

LANES = 16  # keys per block
_WORD, _BYTE = ir.IntType(32), ir.IntType(8)
_WORDS, _BYTES, _FLOATS = ir.VectorType(_WORD, LANES), ir.VectorType(_BYTE, 64), ir.VectorType(ir.FloatType(), LANES)
_make_array: Any = arrayobj.make_array  # numba's inner modules carry no types
_for_range: Any = cgutils.for_range
_alloca: Any = cgutils.alloca_once
_function: Any = cgutils.get_or_insert_function


def has_byte_dot_product() -> bool:
    """Whether numba compiles for this very processor and it has AVX-512 VNNI."""
    return not getattr(config, "CPU_NAME", None) and bool(llvm.get_host_cpu_features().get("avx512vnni", False))


def _splat(builder: Any, scalar: Any, vector: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_WORD, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_WORDS, [0] * LANES))


def _named(builder: Any, total: Any, keys: Any, query: Any) -> Any:
    """Add four unsigned x signed byte products to each lane of `total`, by the instruction."""
    kind = ir.FunctionType(_WORDS, [_WORDS, _WORDS, _WORDS])
    instruction = _function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(instruction, [total, builder.bitcast(keys, _WORDS), query])


def _spelled_out(builder: Any, total: Any, keys: Any, query: Any) -> Any:
    """The same in vector code for any target, with two half sums per lane: [..., 32].

    A byte product fits 16 bits (255 x 127 < 2^15); the two halves of each 32-bit word are summed by shifts.
    """
    short, wide = ir.VectorType(ir.IntType(16), 64), ir.VectorType(_WORD, 32)
    products = builder.mul(builder.zext(keys, short), builder.sext(builder.bitcast(query, _BYTES), short))
    pairs, sixteen = builder.bitcast(products, wide), ir.Constant(wide, [16] * 32)
    low = builder.ashr(builder.shl(pairs, sixteen), sixteen)
    return builder.add(total, builder.add(low, builder.ashr(pairs, sixteen)))


def _lane_sums(builder: Any, total: Any) -> Any:
    """[32] half sums of `_spelled_out` to [16]; the sums of `_named` are whole already."""
    if total.type.count == LANES:
        return total
    undefined = ir.Constant(total.type, ir.Undefined)
    halves = [
        builder.shuffle_vector(total, undefined, ir.Constant(_WORDS, [2 * lane + half for lane in range(LANES)]))
        for half in range(2)
    ]
    return builder.add(*halves)


def make_block_scores(step: Any) -> Any:
    """Intrinsic `(codes, first byte, groups, query, bias, scale, first row, threshold, out) -> int`.

    Writes the sixteen scores `scale * (sum of products - bias)` to `out` [16] float32 and returns a bit mask of those
    above `threshold`. `step` is one of the two functions above.
    """

    @intrinsic
    def block_scores(
        _t: Any, codes: Any, _b: Any, _g: Any, query: Any, _i: Any, scale: Any, _r: Any, _h: Any, out: Any
    ) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first_byte, groups, bias, row, threshold = (arguments[i] for i in (1, 2, 4, 6, 7))

            def pointer(index: int, kind: Any) -> Any:
                data = _make_array(signature.args[index])(context, builder, arguments[index]).data
                return builder.bitcast(data, kind.as_pointer())

            count = LANES if step is _named else 2 * LANES
            kind = ir.VectorType(_WORD, count)
            total = _alloca(builder, kind)
            builder.store(ir.Constant(kind, [0] * count), total)
            keys = builder.gep(pointer(0, _BYTE), [first_byte])
            words = pointer(3, _WORD)
            with _for_range(builder, groups) as loop:
                where = builder.gep(keys, [builder.mul(loop.index, ir.Constant(ir.IntType(64), 64))])
                block = builder.load(builder.bitcast(where, _BYTES.as_pointer()))
                block.align = 1
                four = builder.load(builder.gep(words, [loop.index]))
                four.align = 1
                builder.store(step(builder, builder.load(total), block, _splat(builder, four, _WORDS)), total)
            sums = builder.sub(_lane_sums(builder, builder.load(total)), _splat(builder, bias, _WORDS))
            scales = builder.load(builder.bitcast(builder.gep(pointer(5, ir.FloatType()), [row]), _FLOATS.as_pointer()))
            scales.align = 4
            scores = builder.fmul(builder.sitofp(sums, _FLOATS), scales)
            builder.store(scores, builder.bitcast(pointer(8, ir.FloatType()), _FLOATS.as_pointer())).align = 4
            above = builder.fcmp_ordered(">", scores, _splat(builder, threshold, _FLOATS))
            return builder.zext(builder.bitcast(above, ir.IntType(LANES)), ir.IntType(64))

        size = types.int64
        arguments = (codes, size, size, query, types.int32, scale, size, types.float32, out)
        return types.int64(*arguments), build

    return block_scores


block_scores_portable = make_block_scores(_spelled_out)
block_scores = make_block_scores(_named) if has_byte_dot_product() else block_scores_portable
