/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Making pairs: both halves in, or neither (flow.h has the protocol).
 */
#ifndef PENSTOCK_PAIR_H
#define PENSTOCK_PAIR_H

#include "flow.h"

#define EEXIST 17

/* A pair in the making; too large for the 512-byte stack, so each CPU has one to work on. */
struct pair {
	union tuple request_key;
	union tuple reply_key;
	union tuple twin; /* scratch for a key */
	struct flow request;
	struct flow reply;
	struct ageing4 age4; /* scratch for an entry of a turnstile */
	struct ageing6 age6;
};

PINNED_MAP(pair_scratch, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct pair);

static __always_inline struct pair *this_cpu_pair(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pair_scratch, &zero);
}

/* Makes room for `key` where half of a broken or an expired pair stands; returns whether there is room. */
static __noinline int evict_if_dead(enum table table, int family, const union tuple *key, union tuple *twin)
{
	struct flow *occupant = flow_lookup(table, family, key);
	__u32 generation;

	if (!occupant)
		return 1;
	if (live_twin(table, family, key, occupant, twin))
		return 0;
	generation = occupant->generation;
	twin_key(family, key, occupant, twin);
	pair_remove(table, family, key, twin, generation);
	return 1;
}

/* Both halves of this CPU's pair in, or neither. Returns 0, -EEXIST (a live flow holds one of the keys) or another negative error. */
VERIFIED_ONCE int pair_insert(enum table table, int family)
{
	struct pair *pair = this_cpu_pair();
	int error;

	if (!pair)
		return -1;
	error = flow_insert(table, family, &pair->reply_key, &pair->reply);
	if (error == -EEXIST && evict_if_dead(table, family, &pair->reply_key, &pair->twin))
		error = flow_insert(table, family, &pair->reply_key, &pair->reply);
	if (error)
		return error;
	error = flow_insert(table, family, &pair->request_key, &pair->request);
	if (error == -EEXIST && evict_if_dead(table, family, &pair->request_key, &pair->twin))
		error = flow_insert(table, family, &pair->request_key, &pair->request);
	if (error)
		half_remove(table, family, &pair->reply_key, pair->reply.generation);
	else if (table == TABLE_TCP)
		count_live(family, 1);
	return error;
}

#endif /* PENSTOCK_PAIR_H */
