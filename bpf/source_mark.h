/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which source a packet is of, to a policy that counts them: a mark in place of listener, family and network.
 *
 * Decides: which packets are of one source.
 * Rules: multilinear hashing by multipliers that are drawn at random and known to nobody but this node's programs:
 * two sources have the same mark (and are counted as one) once in 2^33 at the most, whichever they are, and nobody
 * can choose sources that meet. They outlive the agent and go along when flows do (abi.h), for a mark means nothing
 * without them.
 * Must never: tell one source from another by less than all of listener, family and network.
 */
#ifndef PENSTOCK_SOURCE_MARK_H
#define PENSTOCK_SOURCE_MARK_H

#include "choose.h"
#include "source.h"

/* The multiplier, drawn if nobody has yet. */
static __always_inline __u64 multiplier(struct source_seed *seed, int i)
{
	__u64 own, before = *(volatile __u64 *)&seed->multipliers[i];

	if (before)
		return before;
	own = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32() | 1;
	before = __sync_val_compare_and_swap(&seed->multipliers[i], 0, own);
	return before ? before : own;
}

/* One to one: sources in a row have hashes in a row, and would fill some buckets and leave others empty. */
static __always_inline __u64 spread(__u64 bits)
{
	const __u64 all = (1ULL << SOURCE_MARK_BITS) - 1;

	bits ^= bits >> (SOURCE_MARK_BITS / 2);
	bits = bits * 0x9e3779b97f4a7c15 & all;
	bits ^= bits >> (SOURCE_MARK_BITS / 2);
	bits = bits * 0xbf58476d1ce4e5b9 & all;
	return bits ^ bits >> (SOURCE_MARK_BITS / 2);
}

/* The source of this CPU's packet at that listener; never 0, which is nobody's. */
VERIFIED_ONCE __u64 source_mark(int family, __u32 listener_id, __u32 prefix)
{
	struct packet *p = this_cpu_packet();
	__u32 zero = 0;
	struct source_seed *seed = bpf_map_lookup_elem(&source_seed, &zero);
	__u64 hash, mark;

	if (!p || !seed)
		return 1;
	hash = multiplier(seed, 0) * (listener_id << 1 | (family == AF_INET));
	if (family == AF_INET)
		hash += multiplier(seed, 1) * (WORD(p->tuple.v4.saddr, 0) & leading_bits(prefix, 0));
	else
		for (int i = 0; i < 4; i++)
			hash += multiplier(seed, 1 + i) * (WORD(p->tuple.v6.saddr, i) & leading_bits(prefix, i));
	mark = spread(hash >> SOURCE_COUNT_BITS);
	return mark ? mark : 1;
}

#endif /* PENSTOCK_SOURCE_MARK_H */
