/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet of a known flow: follow its state, count it, rewrite it, send it on.
 *
 * Decides: whether the entry that was found is this packet's flow, alive, and at a hook where it may be.
 * Rules: one look-up in the flow tables per established packet, whatever its direction. The entry may be given to
 * another flow while we read it: what the rewrite needs is copied first and checked after (flow.h). The twin is looked
 * at only for TCP segments with SYN, FIN or RST, or of a flow that is not plainly established, and once a second for
 * UDP, whose table may evict one half: the other half restores it.
 * Must never: begin a flow, or rewrite a packet by an entry that another flow has taken meanwhile.
 */
#ifndef PENSTOCK_TRANSLATE_H
#define PENSTOCK_TRANSLATE_H

#include "admit.h"
#include "alive.h"
#include "deliver.h"
#include "fragment.h"
#include "in_force.h"
#include "reset.h"
#include "verdict.h"

/* State changes of an established TCP flow. */
VERIFIED_ONCE int follow_tcp(int family, struct flow *f)
{
	struct packet *p = this_cpu_packet();
	struct pair *scratch = this_cpu_pair();
	union tuple *key;
	struct flow *twin;

	if (!p || !f || !scratch)
		return FLOW_IS_ABSENT;
	key = &scratch->twin;
	twin_key(family, &p->tuple, f, key);
	twin = flow_lookup(TABLE_TCP, family, key);
	if (!twin || twin->generation != f->generation || !f->generation) {
		/* Another CPU may be about to put in the request's half (pair_insert() begins with the reply's). */
		if (!twin && (f->flags & FLOW_REPLY) && seconds_since(f->seen, now_seconds()) < YOUNG_SECONDS)
			return FLOW_IS_ABSENT;
		if (flows_are_moving())
			return DROP_MOVING;
		/* Away with it: as long as it stands here, packets without flags would be carried by it. */
		half_remove(TABLE_TCP, family, &p->tuple, f->generation);
		return FLOW_IS_ABSENT;
	}
	if (established_step(f, twin, p->tcp_flags, p->seq, p->ack) == STEP_REOPEN) {
		if (flows_are_moving())
			return DROP_MOVING;
		pair_remove(TABLE_TCP, family, &p->tuple, key, f->generation);
		return FLOW_IS_ABSENT;
	}
	if (f->state == FLOW_CLOSED && !flows_are_moving()) /* else its copy would be released once more */
		release(f->flags & FLOW_REPLY ? twin : f);
	return FLOW_GOES_ON;
}

/* Does the node's connection tracking see the packets of the flow on their way to its backend? */
static __always_inline int is_tracked(const struct flow *f)
{
	return delivery == DELIVERY_STACK && !(f->flags & FLOW_REMOTE);
}

/*
 * A request whose backend is gone. FLOW_IS_ABSENT: choose another one; FLOW_GOES_ON: carry it all the same; else the
 * verdict. What connection tracking saw begin it must see end, or it keeps it for days.
 */
VERIFIED_ONCE int leave_backend(struct __sk_buff *skb, int family, struct flow *f)
{
	struct packet *p = this_cpu_packet();
	struct pair *scratch = this_cpu_pair();
	struct flow *twin;
	enum table table;

	if (!p || !f || !scratch)
		return DROP_INTERNAL;
	if (flows_are_moving())
		return DROP_MOVING;
	p->backend_id = f->backend_id;
	table = p->protocol == IPPROTO_UDP ? TABLE_UDP : TABLE_TCP;
	twin_key(family, &p->tuple, f, &scratch->twin);
	if (table == TABLE_TCP && !is_first_syn(p->tcp_flags) && is_tracked(f)) {
		if (p->tcp_flags & TCP_RST)
			return FLOW_GOES_ON;
		twin = flow_lookup(TABLE_TCP, family, &scratch->twin);
		if (twin && twin->generation == f->generation) /* it rests until all have been told */
			set_state(f, twin, FLOW_RESET);
		release(f);
		reset_backend(skb);
		return refuse(skb, p, family);
	}
	pair_remove(table, family, &p->tuple, &scratch->twin, f->generation);
	return table == TABLE_UDP || is_first_syn(p->tcp_flags) ? FLOW_IS_ABSENT : (int)refuse(skb, p, family);
}

/* Rewrites by entry `f` and sends on. FLOW_IS_ABSENT if the entry turned out to be another flow's. */
static __always_inline int carry(struct __sk_buff *skb, struct packet *p, struct flow *f, int family, enum hook hook,
				 struct weight weight, int *action)
{
	struct rewrite *r = &p->to;
	__u32 generation = f->generation, backend_id = f->backend_id, ifindex;
	int is_reply = f->flags & FLOW_REPLY;
	enum way way;

	p->backend_id = backend_id;
	copy_rewrite(family, r, f);
	way = way_of(skb, p, f, family, hook);
	if (way == WAY_NONE)
		return VERDICT_NOT_OURS;
	if (way == WAY_TOO_BIG)
		return say_too_big(skb, p, family, f->nexthop.mtu);
	ifindex = is_by_stack(way) ? 0 : f->nexthop.ifindex; /* else it would be one more cache line */
	prepare(r, way, f, hook);
	if (is_another(family, f, &p->tuple, generation))
		return FLOW_IS_ABSENT;
	count_flow(f, backend_id, is_reply, weight);
	if (rewrite(skb, family, p, r))
		return DROP_INTERNAL;
	if (p->fragment == FRAGMENT_FIRST && release_held(skb, family))
		return DROP_INTERNAL;
	*action = deliver(skb, way, ifindex);
	return is_reply ? VERDICT_REPLIED : VERDICT_FORWARDED;
}

/* A packet that met an entry of the established or the UDP table. */
static __always_inline int translate(struct __sk_buff *skb, struct packet *p, struct flow *f, int family,
				     enum hook hook, struct weight weight, int *action)
{
	__u32 now = read_clock(p);
	int step;

	if (!belongs_at(hook, f))
		return FLOW_IS_ABSENT;
	if (p->protocol == IPPROTO_TCP) {
		if ((p->tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST)) || f->state != FLOW_ESTABLISHED) {
			step = follow_tcp(family, f);
			if (step != FLOW_GOES_ON)
				return step;
		}
		if (p->tcp_flags & TCP_ACK)
			f->expects = p->ack;
	} else if (f->seen != now) {
		step = keep_udp(family, f);
		if (step != FLOW_GOES_ON)
			return step;
	}
	if (!(f->flags & FLOW_REPLY) && has_lost_backend(f, p->protocol == IPPROTO_UDP)) {
		step = leave_backend(skb, family, f);
		if (step != FLOW_GOES_ON)
			return step;
	}
	if (f->seen != now)
		f->seen = now;
	return carry(skb, p, f, family, hook, weight, action);
}

#endif /* PENSTOCK_TRANSLATE_H */
