/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Making pairs: both halves in, or neither (flow.h has the protocol), and known to ageing.
 *
 * Decides: whether a flow that is wanted may be: its own tuples are free, or whoever holds one is dead.
 * Rules: the reply half first. A half of which the other is missing is dead, unless it is so young that another CPU
 * may be about to put the other one in. Who put a pair in hands it to ageing, so that it stands in a turnstile once.
 * Must never: take a live flow's place, or leave one half behind.
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

/* The request half that this CPU has just made or tried to make. */
static __always_inline struct flow *flow_in_the_making(void)
{
	struct pair *pair = this_cpu_pair();

	if (!pair)
		return 0;
	/* before 6.2 the verifier allows no arithmetic on what may be NULL, and clang adds before it checks */
	OPAQUE(pair);
	return &pair->request;
}

/* What an attempt to insert came to, besides 0 and negative errors. */
#define PAIR_EXISTS 1 /* another CPU made the same flow, or is making it */

/* Who stands at a key that we want. */
enum occupant {
	OCCUPANT_NONE,	/* nobody, or somebody dead, who was taken out */
	OCCUPANT_SAME,	/* the same flow as the one in the making */
	OCCUPANT_OTHER, /* another live flow */
};

static __always_inline int same_tuple(int family, const union tuple *a, const union tuple *b)
{
	return equal_words(a, b, family == AF_INET ? sizeof(struct tuple4) / 4 : sizeof(struct tuple6) / 4);
}

/* `is_request`: at this CPU's pair's request key; else at its reply key. */
VERIFIED_ONCE int clear_if_dead(enum table table, int family, int is_request)
{
	struct pair *pair = this_cpu_pair();
	const union tuple *key;
	struct flow *occupant;
	__u32 generation;

	if (!pair)
		return OCCUPANT_OTHER;
	OPAQUE(pair); /* as in flow_in_the_making() */
	key = is_request ? &pair->request_key : &pair->reply_key;
	occupant = flow_lookup(table, family, key);
	if (!occupant)
		return OCCUPANT_NONE;
	generation = occupant->generation;
	if (live_twin(table, family, key, occupant, &pair->twin) ||
	    seconds_since(occupant->seen, now_seconds()) < YOUNG_SECONDS) {
		twin_key(family, key, occupant, &pair->twin);
		return is_request || same_tuple(family, &pair->twin, &pair->request_key) ? OCCUPANT_SAME :
											   OCCUPANT_OTHER;
	}
	twin_key(family, key, occupant, &pair->twin);
	/* As pair_remove(), but for the stack: 6.1 counts 32 octets for each call. */
	half_remove(table, family, key, generation);
	half_remove(table, family, &pair->twin, generation);
	return OCCUPANT_NONE;
}

static __always_inline int insert_half(enum table table, int family, struct pair *pair, int is_request)
{
	const union tuple *key = is_request ? &pair->request_key : &pair->reply_key;
	const struct flow *half = is_request ? &pair->request : &pair->reply;
	int error = flow_insert(table, family, key, half);

	if (error != -EEXIST)
		return error;
	switch (clear_if_dead(table, family, is_request)) {
	case OCCUPANT_SAME:
		return PAIR_EXISTS;
	case OCCUPANT_OTHER:
		return -EEXIST;
	default:
		return flow_insert(table, family, key, half);
	}
}

/*
 * Both halves of this CPU's pair in, or neither. 0, PAIR_EXISTS, -EEXIST (another live flow has the reply's tuple) or
 * another negative error.
 */
VERIFIED_ONCE int pair_insert(enum table table, int family)
{
	struct pair *pair = this_cpu_pair();
	int result;

	if (!pair)
		return -1;
	result = insert_half(table, family, pair, 0);
	if (result)
		return result;
	result = insert_half(table, family, pair, 1);
	if (result)
		half_remove(table, family, &pair->reply_key, pair->reply.generation);
	else if (table == TABLE_TCP)
		count_live(family, 1);
	return result;
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

/* The reply's tuple may be live as an established flow: then it is taken too. 0 if it is not. */
static __always_inline int taken_by_established(int family)
{
	switch (clear_if_dead(TABLE_TCP, family, 0)) {
	case OCCUPANT_SAME:
		return PAIR_EXISTS;
	case OCCUPANT_OTHER:
		return -EEXIST;
	default:
		return 0;
	}
}

/* Undoes pair_insert(). */
VERIFIED_ONCE int take_back(enum table table, int family)
{
	struct pair *pair = this_cpu_pair();

	if (!pair)
		return -1;
	half_remove(table, family, &pair->request_key, pair->request.generation);
	half_remove(table, family, &pair->reply_key, pair->reply.generation);
	return 0;
}

/* Puts the pair in under the client's own source address and port. */
static __always_inline int insert_kept(enum table table, int family, struct pair *pair)
{
	int result;

	reply_key_of(family, pair);
	pair->request.key_check = key_check(family, &pair->request_key);
	pair->reply.key_check = key_check(family, &pair->reply_key);
	if (table != TABLE_HALF_OPEN)
		return pair_insert(table, family);
	result = taken_by_established(family);
	if (result)
		return result;
	result = pair_insert(table, family);
	if (result)
		return result;
	result = taken_by_established(family); /* promoted by another CPU since we looked */
	if (result)
		take_back(table, family);
	return result;
}

#endif /* PENSTOCK_PAIR_H */
