"""Similarity of one query to blocks of sixteen coded keys: the only place where the instruction set shows.

What: a compiled building block for scan.py. Sixteen keys lie together, four bytes of each in turn (coding.py), so that
one 64-byte load serves sixteen sums and no sum is ever taken across a vector; four blocks at once share each load of
the query and hide the latency of the sums. Where the processor has the byte dot product (AVX-512 VNNI) that instruction
is named, where it has AVX2 the multiplication of pairs of 16-bit words; elsewhere the same integers come from ordinary
vector code that the compiler lowers to what there is. All are exact integer sums, so their results are equal bit by
bit (a test compares them), and the processor can change speed only.
Measured: 5,000 keys of 64 components in docs/memory.md. Source: the layout is that of fast-scan product
quantisation (Andre et al. 2015) with plain bytes. Shapes: one block is [D / 4, 16, 4] bytes. Units: none.
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
TOGETHER = 4  # blocks that share one pass over the query
_WORD, _BYTE = ir.IntType(32), ir.IntType(8)
_SHORTS = ir.VectorType(ir.IntType(16), 2 * LANES)
_WORDS, _BYTES, _FLOATS = ir.VectorType(_WORD, LANES), ir.VectorType(_BYTE, 64), ir.VectorType(ir.FloatType(), LANES)
_make_array: Any = arrayobj.make_array  # numba's inner modules carry no types
_for_range: Any = cgutils.for_range
_alloca: Any = cgutils.alloca_once
_function: Any = cgutils.get_or_insert_function


def has_byte_dot_product() -> bool:
    """Whether numba compiles for this very processor and it has AVX-512 VNNI."""
    return not getattr(config, "CPU_NAME", None) and bool(llvm.get_host_cpu_features().get("avx512vnni", False))


def has_word_pairs() -> bool:
    """Whether numba compiles for this very processor and it has AVX2."""
    return not getattr(config, "CPU_NAME", None) and bool(llvm.get_host_cpu_features().get("avx2", False))


def _splat(builder: Any, scalar: Any, vector: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_WORD, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_WORDS, [0] * LANES))


def _named(builder: Any, total: Any, keys: Any, query: Any) -> Any:
    """Add four unsigned x signed byte products to each lane of `total`, by the instruction."""
    kind = ir.FunctionType(_WORDS, [_WORDS, _WORDS, _WORDS])
    instruction = _function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(instruction, [total, builder.bitcast(keys, _WORDS), query])


def _word_pairs(builder: Any, total: Any, keys: Any, query: Any) -> Any:
    """The same by AVX2: bytes 0 and 2 of each lane as one pair of 16-bit words, bytes 1 and 3 as the other."""
    half, sums = ir.VectorType(ir.IntType(16), 16), ir.VectorType(_WORD, 8)
    instruction = _function(builder.module, ir.FunctionType(sums, [half, half]), "llvm.x86.avx2.pmadd.wd")
    key_words, query_words = builder.bitcast(keys, _SHORTS), builder.bitcast(query, _SHORTS)
    eight = ir.Constant(_SHORTS, [8] * 32)
    even = (
        builder.and_(key_words, ir.Constant(_SHORTS, [255] * 32)),
        builder.ashr(builder.shl(query_words, eight), eight),
    )
    odd = builder.lshr(key_words, eight), builder.ashr(query_words, eight)
    for words, factors in (even, odd):
        parts = [
            builder.call(instruction, [_part(builder, words, 16 * i, 16), _part(builder, factors, 16 * i, 16)])
            for i in range(2)
        ]
        total = builder.add(total, builder.shuffle_vector(*parts, ir.Constant(_WORDS, list(range(LANES)))))
    return total


def _part(builder: Any, vector: Any, first: int, count: int) -> Any:
    where = ir.Constant(ir.VectorType(_WORD, count), list(range(first, first + count)))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), where)


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


def make_block_scores(step: Any, blocks: int) -> Any:
    """Intrinsic `(codes, first byte, groups, query, bias, scale, first row, threshold, out) -> int`.

    Writes the scores `scale * (sum of products - bias)` of `blocks` (at most 4) adjoining blocks to `out` [16 blocks]
    float32 and returns a bit mask of those above `threshold`. `step` is one of the three functions above.
    """

    @intrinsic
    def block_scores(
        _t: Any, codes: Any, _b: Any, _g: Any, query: Any, _i: Any, scale: Any, _r: Any, _h: Any, out: Any
    ) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first_byte, groups, bias, row, threshold = (arguments[i] for i in (1, 2, 4, 6, 7))
            long = ir.IntType(64)

            def pointer(index: int, kind: Any) -> Any:
                data = _make_array(signature.args[index])(context, builder, arguments[index]).data
                return builder.bitcast(data, kind.as_pointer())

            count = 2 * LANES if step is _spelled_out else LANES
            kind = ir.VectorType(_WORD, count)
            totals = [_alloca(builder, kind) for _ in range(blocks)]
            for total in totals:
                builder.store(ir.Constant(kind, [0] * count), total)
            keys, words = builder.gep(pointer(0, _BYTE), [first_byte]), pointer(3, _WORD)
            with _for_range(builder, groups) as loop:
                four = _splat(builder, _load(builder, words, loop.index, _WORD), _WORDS)
                within = builder.mul(loop.index, ir.Constant(long, 64))
                for b, total in enumerate(totals):
                    start = builder.add(within, builder.mul(groups, ir.Constant(long, 64 * b)))
                    block = _load(builder, keys, start, _BYTES)
                    builder.store(step(builder, builder.load(total), block, four), total)
            mask = ir.Constant(long, 0)
            for b, total in enumerate(totals):
                first = ir.Constant(long, LANES * b)
                sums = builder.sub(_lane_sums(builder, builder.load(total)), _splat(builder, bias, _WORDS))
                scales = _load(builder, pointer(5, ir.FloatType()), builder.add(row, first), _FLOATS)
                scores = builder.fmul(builder.sitofp(sums, _FLOATS), scales)
                where = builder.gep(pointer(8, ir.FloatType()), [first])
                builder.store(scores, builder.bitcast(where, _FLOATS.as_pointer())).align = 4
                above = builder.fcmp_ordered(">", scores, _splat(builder, threshold, _FLOATS))
                bits = builder.zext(builder.bitcast(above, ir.IntType(LANES)), long)
                mask = builder.or_(mask, builder.shl(bits, first))
            return mask

        size = types.int64
        arguments = (codes, size, size, query, types.int32, scale, size, types.float32, out)
        return types.uint64(*arguments), build

    return block_scores


def _load(builder: Any, base: Any, offset: Any, kind: Any) -> Any:
    """What lies at base[offset], as `kind`, at whatever address."""
    value = builder.load(builder.bitcast(builder.gep(base, [offset]), kind.as_pointer()))
    value.align = 1
    return value


def _count_trailing_zeros(_t: Any, _mask: Any) -> Any:
    """Place of the lowest bit that is set in a mask that is not zero."""

    def build(_c: Any, builder: Any, _s: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), build


lowest_bit: Any = intrinsic(_count_trailing_zeros)

STEPS = {"byte dot product": _named, "word pairs": _word_pairs, "any": _spelled_out}
SELECTED = "byte dot product" if has_byte_dot_product() else ("word pairs" if has_word_pairs() else "any")
block_scores = make_block_scores(STEPS[SELECTED], 1)
blocks_scores = make_block_scores(STEPS[SELECTED], TOGETHER)
