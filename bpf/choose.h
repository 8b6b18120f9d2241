/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Picks the backend of a new flow: listener -> pool -> slot -> backend.
 *
 * Decides: which backend a new flow gets.
 * Rules: the slot is a hash of the packet's own tuple (of its source alone, if a policy asks for affinity) with a seed
 * that all nodes share, so any node, and a node that forgot, picks the same backend. Which slot holds which backend is
 * the control plane's business (weighted Maglev).
 * Must never: look at whether the backend is alive: a slot that cannot be served holds BACKEND_REJECT.
 */
#ifndef PENSTOCK_CHOOSE_H
#define PENSTOCK_CHOOSE_H

#include "maps.h"
#include "parse.h"
#include "settings.h"

/* murmur3's mixing of one word into a hash, and its finish. */
static __always_inline __u32 mix_word(__u32 hash, __u32 w)
{
	w *= 0xcc9e2d51;
	w = (w << 15) | (w >> 17);
	hash ^= w * 0x1b873593;
	hash = (hash << 13) | (hash >> 19);
	return hash * 5 + 0xe6546b64;
}

static __always_inline __u32 finish_hash(__u32 hash)
{
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ (hash >> 16);
}

static __always_inline __u32 tuple_hash(int family, const union tuple *t)
{
	__u32 hash = hash_seed;

	if (family == AF_INET) {
		hash = mix_word(hash, WORD(t->v4.saddr, 0));
		hash = mix_word(hash, WORD(t->v4.daddr, 0));
		hash = mix_word(hash, (__u32)t->v4.sport << 16 | t->v4.dport);
		return finish_hash(mix_word(hash, t->v4.protocol));
	}
	for (int i = 0; i < 8; i++)
		hash = mix_word(hash, WORD(t->v6.saddr, i));
	hash = mix_word(hash, (__u32)t->v6.sport << 16 | t->v6.dport);
	return finish_hash(mix_word(hash, t->v6.protocol));
}

/* The leading bits of word `i` of an address that are within `prefix`. */
static __always_inline __u32 leading_bits(__u32 prefix, int i)
{
	__u32 bits = prefix - 32 * i;

	if ((__s32)bits <= 0)
		return 0;
	return bits >= 32 ? ~0U : bpf_htonl(~0U << (32 - bits));
}

/*
 * Of this CPU's packet. A function of its own: each word has three cases, and the verifier would try all of them
 * together.
 */
VERIFIED_ONCE __u32 source_hash(int family, __u32 prefix)
{
	struct packet *p = this_cpu_packet();
	__u32 hash = hash_seed;

	if (!p)
		return 0;
	if (family == AF_INET)
		return finish_hash(mix_word(hash, WORD(p->tuple.v4.saddr, 0) & leading_bits(prefix, 0)));
	for (int i = 0; i < 4; i++)
		hash = mix_word(hash, WORD(p->tuple.v6.saddr, i) & leading_bits(prefix, i));
	return finish_hash(hash);
}

/*
 * Backend id for a new flow of this tuple; BACKEND_REJECT, or BACKEND_NONE if the pool has a hole. `affinity`: as in
 * packet.
 */
static __always_inline __u32 choose(int family, const union tuple *t, __u32 pool_id, __u8 affinity)
{
	struct pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	__u32 slot = (affinity ? source_hash(family, affinity) : tuple_hash(family, t)) % POOL_SLOTS;

	OPAQUE(slot); /* clang knows that a remainder is small, the verifier does not */
	if (!pool || slot >= POOL_SLOTS)
		return BACKEND_NONE;
	return pool->slots[slot];
}

#endif /* PENSTOCK_CHOOSE_H */
