/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How many connections each source has open at a listener: the slots of source_connections.
 *
 * Decides: whether a source may have one more, and which slot counts it.
 * Rules:
 *   - A slot is one word, the source's mark (source_mark.h) and how many; who adds one compares and swaps the whole
 *     word, so it is never added to what has become another's. A flow keeps which slot counts it, and is taken off
 *     there: as long as it counts, the slot is its source's. So nothing depends on what the policy says by then, nor
 *     on finding it again.
 *   - To one slot what is one too many is never added, so it never turns away another one. But two CPUs may give one
 *     source two slots (one falls free while both look): its connections are the sum of all. Across the two one too
 *     many may be added, and is taken back; of two that meet at the limit so, both may be turned away. So the limit is
 *     that of one slot; what two cost is room, until the connections of either have ended.
 *   - A source that finds its bucket full is not counted and let in: who is many may not lock others out.
 * Must never: try without an end; refuse for want of room.
 */
#ifndef PENSTOCK_SOURCE_H
#define PENSTOCK_SOURCE_H

#include "maps.h"
#include "settings.h"
#include "verifier.h"

#define SOURCE_MARK_BITS (64 - SOURCE_COUNT_BITS)
#define SOURCE_COUNT_MASK ((1ULL << SOURCE_COUNT_BITS) - 1)
#define SOURCE_TRIES 16

/* What count_at_source() found besides a place. */
#define SOURCE_UNCOUNTED 0
#define SOURCE_EXCEEDS -1
#define SOURCE_BUSY -2 /* so many CPUs were quicker that we gave up */

/* Marks are spread evenly, and so are these. The agent, too, finds a mark's bucket, when it carries flows over. */
static __always_inline __u32 bucket_of(__u64 mark)
{
	return mark * source_buckets >> SOURCE_MARK_BITS;
}

/* Connections that the source has open. */
VERIFIED_ONCE __u32 connections_of(__u64 mark)
{
	__u32 at = bucket_of(mark), sum = 0;
	struct source_bucket *bucket = bpf_map_lookup_elem(&source_connections, &at);

	if (!bucket)
		return 0;
	for (int i = 0; i < SOURCE_SLOTS; i++) {
		__u64 slot = *(volatile __u64 *)&bucket->slots[i];

		if (slot >> SOURCE_COUNT_BITS == mark)
			sum += slot & SOURCE_COUNT_MASK;
	}
	return sum;
}

/* The slot of that mark, else a free one (mark 0), else SOURCE_SLOTS. */
VERIFIED_ONCE __u32 find_slot(__u64 mark)
{
	__u32 at = bucket_of(mark), free = SOURCE_SLOTS;
	struct source_bucket *bucket = bpf_map_lookup_elem(&source_connections, &at);

	if (!bucket)
		return SOURCE_SLOTS;
	for (int i = 0; i < SOURCE_SLOTS; i++) {
		__u64 slot = *(volatile __u64 *)&bucket->slots[i];

		if (slot >> SOURCE_COUNT_BITS == mark)
			return i;
		if (!slot)
			free = i;
	}
	return free;
}

/* One connection less in the slot of that place; the last one leaves it free. */
static __always_inline void release_source(__u32 place)
{
	__u32 at = (place - 1) / SOURCE_SLOTS;
	struct source_bucket *bucket = bpf_map_lookup_elem(&source_connections, &at);
	__u64 *slot, before;

	if (!bucket)
		return;
	slot = &bucket->slots[(place - 1) & (SOURCE_SLOTS - 1)];
	before = __sync_fetch_and_add(slot, -1);
	if ((before & SOURCE_COUNT_MASK) == 1)
		__sync_val_compare_and_swap(slot, before - 1, 0);
}

/* One connection more of that source: the flow's source_place, or one of those. */
VERIFIED_ONCE int count_at_source(__u64 mark, __u32 limit)
{
	__u32 at = bucket_of(mark), i, place;
	struct source_bucket *bucket = bpf_map_lookup_elem(&source_connections, &at);
	__u64 *slot, before, after;

	if (!bucket)
		return SOURCE_UNCOUNTED;
	for (int tries = 0; tries < SOURCE_TRIES; tries++) {
		i = find_slot(mark);
		if (i >= SOURCE_SLOTS)
			return connections_of(mark) >= limit ? SOURCE_EXCEEDS : SOURCE_UNCOUNTED;
		slot = &bucket->slots[i & (SOURCE_SLOTS - 1)];
		before = *(volatile __u64 *)slot;
		if (before && before >> SOURCE_COUNT_BITS != mark)
			continue; /* it fell free since, and is another's */
		if (connections_of(mark) >= limit)
			return SOURCE_EXCEEDS;
		after = before ? before + 1 : mark << SOURCE_COUNT_BITS | 1;
		if (__sync_val_compare_and_swap(slot, before, after) != before)
			continue;
		place = at * SOURCE_SLOTS + i + 1;
		if (connections_of(mark) <= limit)
			return place;
		release_source(place); /* another CPU counted some in a second slot */
		return SOURCE_EXCEEDS;
	}
	return SOURCE_BUSY;
}

#endif /* PENSTOCK_SOURCE_H */
