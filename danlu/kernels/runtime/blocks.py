"""The free blocks of the cache of memory: their lists, and the machine code that keeps them.

Blocks are runs of grains of 8 KiB. What is free lies in doubly linked lists by size, eight to an
octave, with one bit a list that is not empty; neighbours that are free are joined (a two-level
segregated fit, Masmano et al. 2004, with all bookkeeping in tables apart from the blocks). There are
two sets of lists: hot blocks have pages, cold ones gave them back and read as zeros.
"""

from __future__ import annotations

from danlu.kernels.runtime.pool import PAUSE

SMALLEST = 64 << 10
GRAIN_BITS = 13

# The fields of the header.
LOCK, BASE, RESERVED, FRESH, LIMIT, LARGEST = 0, 64, 72, 80, 88, 96
# Tables with an i32 a grain. Of the first grain of a block: how many grains it has, times four, plus
# its state, and its neighbours in a list; of its last grain: its first one while it is free. Links
# count grains from one, and 0 is none.
SIZES, ENDS, NEXT, PREVIOUS = 104, 112, 120, 128
# States of a block; 0: it is in use.
IS_HOT, IS_COLD = 1, 3
MALLOC, CALLOC, REALLOC, FREE = 136, 144, 152, 160
LIVE, CACHED, PEAK, HITS, MISSES = 192, 200, 208, 216, 224
# A set of lists: 256 bits, and the first block of each list.
HOT, COLD = 256, 1536
HEADER = 4096
_HEADS = 32


def at(offset: int) -> str:
    return f"getelementptr (i8, ptr @danlu_memory, i64 {offset})"


TEXT = f"""
@danlu_memory = external global i8
declare i32 @sched_yield()
declare i32 @madvise(ptr, i64, i32)
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.cttz.i64(i64, i1)
declare i64 @llvm.umax.i64(i64, i64)
declare i64 @llvm.umin.i64(i64, i64)
declare {{i64, i1}} @llvm.umul.with.overflow.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

; which list holds blocks of so many grains (at least 8): three bits behind the highest one
define internal i64 @list_of(i64 %grains) #0 {{
  %zeros = call i64 @llvm.ctlz.i64(i64 %grains, i1 true)
  %octave = sub i64 60, %zeros
  %leading = lshr i64 %grains, %octave
  %step = and i64 %leading, 7
  %first = shl i64 %octave, 3
  %list = or i64 %first, %step
  ret i64 %list
}}

define internal i64 @get(ptr %table_at, i64 %grain) #0 {{
  %table = load ptr, ptr %table_at
  %at = getelementptr i32, ptr %table, i64 %grain
  %value = load i32, ptr %at
  %wide = zext i32 %value to i64
  ret i64 %wide
}}

define internal void @put(ptr %table_at, i64 %grain, i64 %value) #0 {{
  %table = load ptr, ptr %table_at
  %at = getelementptr i32, ptr %table, i64 %grain
  %short = trunc i64 %value to i32
  store i32 %short, ptr %at
  ret void
}}

define internal void @count(ptr %counter, i64 %more) #0 {{
  %before = load i64, ptr %counter
  %after = add i64 %before, %more
  store i64 %after, ptr %counter
  ret void
}}

define internal void @lock() #0 {{
entry:
  br label %try
try:
  %was = atomicrmw xchg ptr @danlu_memory, i32 1 acquire
  %free = icmp eq i32 %was, 0
  br i1 %free, label %out, label %look
look:
  %turn = phi i32 [ 0, %try ], [ %following, %again ]
  {PAUSE}
  %following = add i32 %turn, 1
  %long = icmp sgt i32 %following, 100
  br i1 %long, label %yield, label %again
again:
  %now = load atomic i32, ptr @danlu_memory monotonic, align 4
  %taken = icmp ne i32 %now, 0
  br i1 %taken, label %look, label %try
yield:
  %y = call i32 @sched_yield()
  br label %try
out:
  ret void
}}

define internal void @unlock() #0 {{
  store atomic i32 0, ptr @danlu_memory release, align 4
  ret void
}}

; the state of the blocks of a set of lists
define internal i64 @state_of(ptr %lists) #0 {{
  %is_hot = icmp eq ptr %lists, {at(HOT)}
  %state = select i1 %is_hot, i64 {IS_HOT}, i64 {IS_COLD}
  ret i64 %state
}}

; what is kept counts the hot blocks
define internal void @count_hot(ptr %lists, i64 %grains) #0 {{
entry:
  %is_hot = icmp eq ptr %lists, {at(HOT)}
  br i1 %is_hot, label %hot, label %out
hot:
  %bytes = shl i64 %grains, {GRAIN_BITS}
  call void @count(ptr {at(CACHED)}, i64 %bytes)
  br label %out
out:
  ret void
}}

; put a free block into a set of lists
define internal void @insert(ptr %lists, i64 %grain, i64 %grains) #0 {{
entry:
  %state = call i64 @state_of(ptr %lists)
  %four = shl i64 %grains, 2
  %size = or i64 %four, %state
  call void @put(ptr {at(SIZES)}, i64 %grain, i64 %size)
  %link = add i64 %grain, 1
  %after = add i64 %grain, %grains
  %last = sub i64 %after, 1
  call void @put(ptr {at(ENDS)}, i64 %last, i64 %link)
  call void @count_hot(ptr %lists, i64 %grains)
  %list = call i64 @list_of(i64 %grains)
  %heads = getelementptr i8, ptr %lists, i64 {_HEADS}
  %head_at = getelementptr i32, ptr %heads, i64 %list
  %head = load i32, ptr %head_at
  %next = zext i32 %head to i64
  call void @put(ptr {at(NEXT)}, i64 %grain, i64 %next)
  call void @put(ptr {at(PREVIOUS)}, i64 %grain, i64 0)
  %short = trunc i64 %link to i32
  store i32 %short, ptr %head_at
  %empty = icmp eq i32 %head, 0
  br i1 %empty, label %mark, label %chain
mark:
  %word = lshr i64 %list, 6
  %word_at = getelementptr i64, ptr %lists, i64 %word
  %place = and i64 %list, 63
  %bit = shl i64 1, %place
  %before = load i64, ptr %word_at
  %marked = or i64 %before, %bit
  store i64 %marked, ptr %word_at
  ret void
chain:
  %second = sub i64 %next, 1
  call void @put(ptr {at(PREVIOUS)}, i64 %second, i64 %link)
  ret void
}}

; take a block out of its list; its grains. It is in use then, as far as its neighbours see.
define internal i64 @remove(ptr %lists, i64 %grain) #0 {{
entry:
  %size = call i64 @get(ptr {at(SIZES)}, i64 %grain)
  %grains = lshr i64 %size, 2
  %used = and i64 %size, -4
  call void @put(ptr {at(SIZES)}, i64 %grain, i64 %used)
  %after = add i64 %grain, %grains
  %last = sub i64 %after, 1
  call void @put(ptr {at(ENDS)}, i64 %last, i64 0)
  %negative = sub i64 0, %grains
  call void @count_hot(ptr %lists, i64 %negative)
  %next = call i64 @get(ptr {at(NEXT)}, i64 %grain)
  %previous = call i64 @get(ptr {at(PREVIOUS)}, i64 %grain)
  %has_next = icmp ne i64 %next, 0
  br i1 %has_next, label %next_back, label %look_back
next_back:
  %next_grain = sub i64 %next, 1
  call void @put(ptr {at(PREVIOUS)}, i64 %next_grain, i64 %previous)
  br label %look_back
look_back:
  %has_previous = icmp ne i64 %previous, 0
  br i1 %has_previous, label %bypass, label %behead
bypass:
  %previous_grain = sub i64 %previous, 1
  call void @put(ptr {at(NEXT)}, i64 %previous_grain, i64 %next)
  ret i64 %grains
behead:
  %list = call i64 @list_of(i64 %grains)
  %heads = getelementptr i8, ptr %lists, i64 {_HEADS}
  %head_at = getelementptr i32, ptr %heads, i64 %list
  %short = trunc i64 %next to i32
  store i32 %short, ptr %head_at
  br i1 %has_next, label %out, label %clear
clear:
  %word = lshr i64 %list, 6
  %word_at = getelementptr i64, ptr %lists, i64 %word
  %place = and i64 %list, 63
  %bit = shl i64 1, %place
  %others = xor i64 %bit, -1
  %before = load i64, ptr %word_at
  %cleared = and i64 %before, %others
  store i64 %cleared, ptr %word_at
  br label %out
out:
  ret i64 %grains
}}

; a free block of at least so many grains, counted from one; 0: there is none. The first of its own
; list if that is large enough, else the first of the next list whose blocks all are.
define internal i64 @find(ptr %lists, i64 %grains) #0 {{
entry:
  %heads = getelementptr i8, ptr %lists, i64 {_HEADS}
  %own = call i64 @list_of(i64 %grains)
  %own_at = getelementptr i32, ptr %heads, i64 %own
  %own_head = load i32, ptr %own_at
  %has_own = icmp ne i32 %own_head, 0
  br i1 %has_own, label %measure, label %search
measure:
  %own_link = zext i32 %own_head to i64
  %own_grain = sub i64 %own_link, 1
  %own_size = call i64 @get(ptr {at(SIZES)}, i64 %own_grain)
  %own_grains = lshr i64 %own_size, 2
  %fits = icmp uge i64 %own_grains, %grains
  br i1 %fits, label %found_own, label %search
found_own:
  ret i64 %own_link
search:
  %zeros = call i64 @llvm.ctlz.i64(i64 %grains, i1 true)
  %octave = sub i64 60, %zeros
  %step = shl i64 1, %octave
  %step1 = sub i64 %step, 1
  %rounded = add i64 %grains, %step1
  %from = call i64 @list_of(i64 %rounded)
  %first_word = lshr i64 %from, 6
  %place = and i64 %from, 63
  %above = shl i64 -1, %place
  br label %words
words:
  %word = phi i64 [ %first_word, %search ], [ %next_word, %on ]
  %mask = phi i64 [ %above, %search ], [ -1, %on ]
  %word_at = getelementptr i64, ptr %lists, i64 %word
  %all = load i64, ptr %word_at
  %bits = and i64 %all, %mask
  %some = icmp ne i64 %bits, 0
  br i1 %some, label %found, label %on
on:
  %next_word = add i64 %word, 1
  %more = icmp ult i64 %next_word, 4
  br i1 %more, label %words, label %none
found:
  %number = call i64 @llvm.cttz.i64(i64 %bits, i1 true)
  %base = shl i64 %word, 6
  %list = or i64 %base, %number
  %head_at = getelementptr i32, ptr %heads, i64 %list
  %head = load i32, ptr %head_at
  %link = zext i32 %head to i64
  ret i64 %link
none:
  ret i64 0
}}

; put a block into a set of lists, joined with neighbours of the same set: whether there are pages
; behind a block stays known
define internal void @join(ptr %lists, i64 %first, i64 %grains) #0 {{
entry:
  %state = call i64 @state_of(ptr %lists)
  %after = add i64 %first, %grains
  %end = shl i64 %after, {GRAIN_BITS}
  %fresh = load i64, ptr {at(FRESH)}
  %has_next = icmp ult i64 %end, %fresh
  br i1 %has_next, label %look_next, label %look_back
look_next:
  %next_size = call i64 @get(ptr {at(SIZES)}, i64 %after)
  %next_state = and i64 %next_size, 3
  %next_joins = icmp eq i64 %next_state, %state
  br i1 %next_joins, label %join_next, label %look_back
join_next:
  %next_grains = call i64 @remove(ptr %lists, i64 %after)
  %longer = add i64 %grains, %next_grains
  br label %look_back
look_back:
  %so_far = phi i64 [ %grains, %entry ], [ %grains, %look_next ], [ %longer, %join_next ]
  %is_first = icmp eq i64 %first, 0
  br i1 %is_first, label %keep, label %look_previous
look_previous:
  %last = sub i64 %first, 1
  %link = call i64 @get(ptr {at(ENDS)}, i64 %last)
  %is_free = icmp ne i64 %link, 0
  br i1 %is_free, label %check_previous, label %keep
check_previous:
  %previous = sub i64 %link, 1
  %previous_size = call i64 @get(ptr {at(SIZES)}, i64 %previous)
  %previous_state = and i64 %previous_size, 3
  %previous_joins = icmp eq i64 %previous_state, %state
  br i1 %previous_joins, label %join_previous, label %keep
join_previous:
  %previous_grains = call i64 @remove(ptr %lists, i64 %previous)
  %total = add i64 %so_far, %previous_grains
  call void @insert(ptr %lists, i64 %previous, i64 %total)
  ret void
keep:
  call void @insert(ptr %lists, i64 %first, i64 %so_far)
  ret void
}}
"""
