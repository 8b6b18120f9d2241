/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Making pairs: both halves in, or neither (flow.h has the protocol), and known to ageing.
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

/* Hands a flow over to ageing. Not 0: the turnstile is full. */
static __always_inline long watch_age(enum table table, int family, struct pair *pair)
{
	if (family == AF_INET) {
		__builtin_memcpy(&pair->age4.key, &pair->request_key, sizeof(pair->age4.key));
		pair->age4.generation = pair->request.generation;
		pair->age4.due = 0;
		if (table == TABLE_TCP)
			return bpf_map_push_elem(&ageing_tcp4, &pair->age4, 0);
		return bpf_map_push_elem(&ageing_udp4, &pair->age4, 0);
	}
	__builtin_memcpy(&pair->age6.key, &pair->request_key, sizeof(pair->age6.key));
	pair->age6.generation = pair->request.generation;
	pair->age6.due = 0;
	if (table == TABLE_TCP)
		return bpf_map_push_elem(&ageing_tcp6, &pair->age6, 0);
	return bpf_map_push_elem(&ageing_udp6, &pair->age6, 0);
}

static __always_inline void reply_key_of(int family, struct pair *pair)
{
	twin_key(family, &pair->request_key, &pair->request, &pair->reply_key);
}

/* Puts the pair in under the client's own source address and port. */
static __always_inline int insert_kept(enum table table, int family, struct pair *pair)
{
	reply_key_of(family, pair);
	pair->request.key_check = key_check(family, &pair->request_key);
	pair->reply.key_check = key_check(family, &pair->reply_key);
	/* The same tuple may be live as an established flow: then it is taken, whatever this table says. */
	if (table == TABLE_HALF_OPEN && !evict_if_dead(TABLE_TCP, family, &pair->reply_key, &pair->twin))
		return -EEXIST;
	return pair_insert(table, family);
}

#endif /* PENSTOCK_PAIR_H */
