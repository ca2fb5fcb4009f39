"""The machine code of the cache of memory: the functions of a NumPy handler, in LLVM IR.

Written as text because it is branches and locks, which the builder for kernels has no words for.
"""

from __future__ import annotations

from danlu.kernels.runtime import blocks
from danlu.kernels.runtime.blocks import (
    BASE,
    CACHED,
    CALLOC,
    COLD,
    FREE,
    FRESH,
    GRAIN_BITS,
    HITS,
    HOT,
    LARGEST,
    LIMIT,
    LIVE,
    MALLOC,
    MISSES,
    PEAK,
    REALLOC,
    RESERVED,
    SIZES,
    SMALLEST,
    at,
)

MADV_DONTNEED = 4

TEXT = f"""{blocks.TEXT}
; a block of at least %size bytes and whether it holds zeros; null where there is no room
define internal {{ptr, i1}} @take(i64 %size) #0 {{
entry:
  %largest = load i64, ptr {at(LARGEST)}
  %huge = icmp ugt i64 %size, %largest
  br i1 %huge, label %refuse, label %measure
measure:
  %above = add i64 %size, {(1 << GRAIN_BITS) - 1}
  %grains = lshr i64 %above, {GRAIN_BITS}
  call void @lock()
  %hot = call i64 @find(ptr {at(HOT)}, i64 %grains)
  %is_hot = icmp ne i64 %hot, 0
  br i1 %is_hot, label %reuse, label %look
look:
  %cold = call i64 @find(ptr {at(COLD)}, i64 %grains)
  %is_cold = icmp ne i64 %cold, 0
  br i1 %is_cold, label %reuse, label %extend
reuse:
  %lists = phi ptr [ {at(HOT)}, %measure ], [ {at(COLD)}, %look ]
  %counter = phi ptr [ {at(HITS)}, %measure ], [ {at(MISSES)}, %look ]
  %link = phi i64 [ %hot, %measure ], [ %cold, %look ]
  %old_zeros = phi i1 [ false, %measure ], [ true, %look ]
  call void @count(ptr %counter, i64 1)
  %old = sub i64 %link, 1
  %old_grains = call i64 @remove(ptr %lists, i64 %old)
  %rest = sub i64 %old_grains, %grains
  %splits = icmp uge i64 %rest, {SMALLEST >> GRAIN_BITS}
  br i1 %splits, label %split, label %found
split:
  %second = add i64 %old, %grains
  call void @insert(ptr %lists, i64 %second, i64 %rest)
  br label %found
extend:
  %fresh = load i64, ptr {at(FRESH)}
  %reserved = load i64, ptr {at(RESERVED)}
  %bytes_new = shl i64 %grains, {GRAIN_BITS}
  %end = add i64 %fresh, %bytes_new
  %fits = icmp ule i64 %end, %reserved
  br i1 %fits, label %cut, label %full
cut:
  store i64 %end, ptr {at(FRESH)}
  %new = lshr i64 %fresh, {GRAIN_BITS}
  call void @count(ptr {at(MISSES)}, i64 1)
  br label %found
found:
  %grain = phi i64 [ %old, %reuse ], [ %old, %split ], [ %new, %cut ]
  %taken = phi i64 [ %old_grains, %reuse ], [ %grains, %split ], [ %grains, %cut ]
  %zeros = phi i1 [ %old_zeros, %reuse ], [ %old_zeros, %split ], [ true, %cut ]
  %size_now = shl i64 %taken, 2
  call void @put(ptr {at(SIZES)}, i64 %grain, i64 %size_now)
  %bytes = shl i64 %taken, {GRAIN_BITS}
  call void @count(ptr {at(LIVE)}, i64 %bytes)
  %live = load i64, ptr {at(LIVE)}
  %peak_before = load i64, ptr {at(PEAK)}
  %peak = call i64 @llvm.umax.i64(i64 %peak_before, i64 %live)
  store i64 %peak, ptr {at(PEAK)}
  call void @unlock()
  %base = load ptr, ptr {at(BASE)}
  %offset = shl i64 %grain, {GRAIN_BITS}
  %block = getelementptr i8, ptr %base, i64 %offset
  %r0 = insertvalue {{ptr, i1}} poison, ptr %block, 0
  %r1 = insertvalue {{ptr, i1}} %r0, i1 %zeros, 1
  ret {{ptr, i1}} %r1
full:
  call void @unlock()
  br label %refuse
refuse:
  ret {{ptr, i1}} zeroinitializer
}}

define internal void @drop_pages(i64 %grain, i64 %bytes) #0 {{
  %base = load ptr, ptr {at(BASE)}
  %offset = shl i64 %grain, {GRAIN_BITS}
  %block = getelementptr i8, ptr %base, i64 %offset
  %m = call i32 @madvise(ptr %block, i64 %bytes, i32 {MADV_DONTNEED})
  ret void
}}

define internal i64 @bytes_at(i64 %grain) #0 {{
  %size = call i64 @get(ptr {at(SIZES)}, i64 %grain)
  %grains = lshr i64 %size, 2
  %bytes = shl i64 %grains, {GRAIN_BITS}
  ret i64 %bytes
}}

define internal void @give(i64 %offset) #0 {{
entry:
  %grain = lshr i64 %offset, {GRAIN_BITS}
  %bytes = call i64 @bytes_at(i64 %grain)
  %largest = load i64, ptr {at(LARGEST)}
  %closed = icmp eq i64 %largest, 0
  br i1 %closed, label %out, label %change
out:
  ret void
change:
  %grains = lshr i64 %bytes, {GRAIN_BITS}
  %negative = sub i64 0, %bytes
  call void @lock()
  call void @count(ptr {at(LIVE)}, i64 %negative)
  %cached = load i64, ptr {at(CACHED)}
  %more = add i64 %cached, %bytes
  %limit = load i64, ptr {at(LIMIT)}
  %fits = icmp ule i64 %more, %limit
  br i1 %fits, label %keep, label %drop
keep:
  call void @join(ptr {at(HOT)}, i64 %grain, i64 %grains)
  call void @unlock()
  ret void
drop:
  call void @unlock()
  call void @drop_pages(i64 %grain, i64 %bytes)
  call void @lock()
  call void @join(ptr {at(COLD)}, i64 %grain, i64 %grains)
  call void @unlock()
  ret void
}}

; give the pages of all hot blocks back to the system; how many bytes
define i64 @danlu_memory_release() #0 {{
entry:
  br label %blocks
blocks:
  %total = phi i64 [ 0, %entry ], [ %more, %block ]
  call void @lock()
  %link = call i64 @find(ptr {at(HOT)}, i64 {SMALLEST >> GRAIN_BITS})
  %none = icmp eq i64 %link, 0
  br i1 %none, label %out, label %block
block:
  %grain = sub i64 %link, 1
  %grains = call i64 @remove(ptr {at(HOT)}, i64 %grain)
  call void @unlock()
  %bytes = shl i64 %grains, {GRAIN_BITS}
  call void @drop_pages(i64 %grain, i64 %bytes)
  call void @lock()
  call void @join(ptr {at(COLD)}, i64 %grain, i64 %grains)
  call void @unlock()
  %more = add i64 %total, %bytes
  br label %blocks
out:
  call void @unlock()
  ret i64 %total
}}

define ptr @danlu_memory_malloc(ptr %context, i64 %size) #0 {{
entry:
  %numpy = load ptr, ptr {at(MALLOC)}
  %large = icmp uge i64 %size, {SMALLEST}
  br i1 %large, label %ours, label %small
small:
  %s = musttail call ptr %numpy(ptr %context, i64 %size)
  ret ptr %s
ours:
  %taken = call {{ptr, i1}} @take(i64 %size)
  %block = extractvalue {{ptr, i1}} %taken, 0
  %none = icmp eq ptr %block, null
  br i1 %none, label %system, label %out
system:
  %found = call ptr %numpy(ptr %context, i64 %size)
  %failed = icmp eq ptr %found, null
  br i1 %failed, label %retry, label %out
retry:
  %released = call i64 @danlu_memory_release()
  %second = call ptr %numpy(ptr %context, i64 %size)
  br label %out
out:
  %result = phi ptr [ %block, %ours ], [ %found, %system ], [ %second, %retry ]
  ret ptr %result
}}

define ptr @danlu_memory_calloc(ptr %context, i64 %number, i64 %each) #0 {{
entry:
  %numpy = load ptr, ptr {at(CALLOC)}
  %product = call {{i64, i1}} @llvm.umul.with.overflow.i64(i64 %number, i64 %each)
  %size = extractvalue {{i64, i1}} %product, 0
  %overflow = extractvalue {{i64, i1}} %product, 1
  br i1 %overflow, label %refuse, label %measure
refuse:
  ret ptr null
measure:
  %large = icmp uge i64 %size, {SMALLEST}
  br i1 %large, label %ours, label %small
small:
  %s = musttail call ptr %numpy(ptr %context, i64 %number, i64 %each)
  ret ptr %s
ours:
  %taken = call {{ptr, i1}} @take(i64 %size)
  %block = extractvalue {{ptr, i1}} %taken, 0
  %zeros = extractvalue {{ptr, i1}} %taken, 1
  %none = icmp eq ptr %block, null
  br i1 %none, label %system, label %check
check:
  br i1 %zeros, label %out, label %clear
clear:
  call void @llvm.memset.p0.i64(ptr %block, i8 0, i64 %size, i1 false)
  br label %out
system:
  %found = call ptr %numpy(ptr %context, i64 %number, i64 %each)
  %failed = icmp eq ptr %found, null
  br i1 %failed, label %retry, label %out
retry:
  %released = call i64 @danlu_memory_release()
  %second = call ptr %numpy(ptr %context, i64 %number, i64 %each)
  br label %out
out:
  %result = phi ptr [ %block, %check ], [ %block, %clear ], [ %found, %system ], [ %second, %retry ]
  ret ptr %result
}}

define internal i64 @offset_of(ptr %block) #0 {{
  %address = ptrtoint ptr %block to i64
  %base = load i64, ptr {at(BASE)}
  %offset = sub i64 %address, %base
  ret i64 %offset
}}

define void @danlu_memory_free(ptr %context, ptr %block, i64 %size) #0 {{
entry:
  %offset = call i64 @offset_of(ptr %block)
  %reserved = load i64, ptr {at(RESERVED)}
  %ours = icmp ult i64 %offset, %reserved
  br i1 %ours, label %give, label %foreign
foreign:
  %numpy = load ptr, ptr {at(FREE)}
  musttail call void %numpy(ptr %context, ptr %block, i64 %size)
  ret void
give:
  call void @give(i64 %offset)
  ret void
}}

define ptr @danlu_memory_realloc(ptr %context, ptr %block, i64 %size) #0 {{
entry:
  %offset = call i64 @offset_of(ptr %block)
  %reserved = load i64, ptr {at(RESERVED)}
  %ours = icmp ult i64 %offset, %reserved
  br i1 %ours, label %measure, label %foreign
foreign:
  %numpy = load ptr, ptr {at(REALLOC)}
  %f = musttail call ptr %numpy(ptr %context, ptr %block, i64 %size)
  ret ptr %f
measure:
  %grain = lshr i64 %offset, {GRAIN_BITS}
  %bytes = call i64 @bytes_at(i64 %grain)
  %half = lshr i64 %bytes, 1
  %enough = icmp ule i64 %size, %bytes
  %worth = icmp uge i64 %size, %half
  %stays = and i1 %enough, %worth
  br i1 %stays, label %out, label %move
move:
  %new = call ptr @danlu_memory_malloc(ptr %context, i64 %size)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %out, label %copy
copy:
  %common = call i64 @llvm.umin.i64(i64 %size, i64 %bytes)
  call void @llvm.memcpy.p0.p0.i64(ptr %new, ptr %block, i64 %common, i1 false)
  call void @give(i64 %offset)
  br label %out
out:
  %result = phi ptr [ %block, %measure ], [ null, %move ], [ %new, %copy ]
  ret ptr %result
}}

attributes #0 = {{ nounwind }}
"""
