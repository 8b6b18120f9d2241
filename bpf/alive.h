/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Is a flow that has an entry alive?
 *
 * Decides: whether a UDP flow is whole and young enough, and whether a flow's backend is there.
 * Rules: UDP's table may evict one half: the other one restores it. TCP's twin is looked at when a flag changes the
 * state (translate.h).
 * Must never: end a flow whose backend has gone: what its client is told is for translate.h.
 */
#ifndef PENSTOCK_ALIVE_H
#define PENSTOCK_ALIVE_H

#include "outcome.h"
#include "pair.h"

/* Once a second: is the UDP flow whole, and young enough? Puts back a twin that the table evicted. */
VERIFIED_ONCE int keep_udp(int family, struct flow *f)
{
	struct packet *p = this_cpu_packet();
	struct pair *pair = this_cpu_pair();
	struct flow *twin;

	if (!pair || !p || !f)
		return FLOW_IS_ABSENT;
	twin_key(family, &p->tuple, f, &pair->twin);
	twin = flow_lookup(TABLE_UDP, family, &pair->twin);
	if (twin && twin->generation == f->generation && f->generation) {
		/* as of a SYN in half_open.h */
		int astray = !(f->flags & FLOW_REPLY) && !f->nexthop.ifindex && !twin->packets;

		if (!astray && idle_seconds(f, twin, now_seconds()) <= idle_limit(family, f, twin))
			return FLOW_GOES_ON;
		pair_remove(TABLE_UDP, family, &p->tuple, &pair->twin, f->generation);
		return FLOW_IS_ABSENT;
	}
	__builtin_memcpy(&pair->reply_key, &pair->twin, sizeof(pair->reply_key));
	__builtin_memcpy(&pair->reply, f, sizeof(pair->reply));
	rewrite_to_reverse_of(family, &p->tuple, &pair->reply);
	pair->reply.flags ^= FLOW_REPLY;
	pair->reply.key_check = key_check(family, &pair->reply_key);
	pair->reply.packets = 0;
	pair->reply.bytes = 0;
	pair->reply.nexthop.expires = 0;
	if (twin || !f->generation || flow_insert(TABLE_UDP, family, &pair->reply_key, &pair->reply)) {
		half_remove(TABLE_UDP, family, &p->tuple, f->generation);
		return FLOW_IS_ABSENT;
	}
	return FLOW_GOES_ON;
}

/* The backend of a request is gone for good; for what has agreed on nothing with it: is in no EndpointSlice. */
static __always_inline int has_lost_backend(const struct flow *f, int even_absent)
{
	__u32 backend_id = f->backend_id;
	struct backend *backend = bpf_map_lookup_elem(&backends, &backend_id);

	if (!backend)
		return 1;
	if (backend->generation != f->backend_generation || backend->state == BACKEND_GONE ||
	    backend->state == BACKEND_FREE)
		return 1;
	return even_absent && backend->state == BACKEND_ABSENT;
}

#endif /* PENSTOCK_ALIVE_H */
