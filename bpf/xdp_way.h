/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whether a packet of a flow may leave by XDP.
 *
 * Decides: that, and which packet goes by TC so that the kernel looks after its neighbours.
 * Rules:
 *   - Its next hop is known, with a neighbour's MAC, and the interface takes frames from XDP: the one that it came in
 *     by, or one with our program on it. (A driver loses what it is given without, and tells nobody.)
 *   - XDP cannot ask the kernel for a neighbour. One that is never asked for is believed until the end of days, though
 *     its machine may have gone; so of all packets to a neighbour one in ASK_SECONDS goes by TC, which asks. A neighbour is
 *     an address: a router's two families, and what moves from router to router, may share a MAC.
 * Must never: change an entry so that TC would do something else with the packet.
 */
#ifndef PENSTOCK_XDP_WAY_H
#define PENSTOCK_XDP_WAY_H

#include "choose.h"
#include "way_out.h"

#define ASK_SECONDS 5
#define ASKED_SLOTS 1024 /* a power of two */

/* Neighbours, and when one of them was asked for last: of two in one slot, each is asked for more often. */
static struct {
	__u32 neighbour;
	__u32 second;
} asked[ASKED_SLOTS];

static __always_inline __u32 neighbour_of(const struct nexthop *nexthop)
{
	__u32 hash = mix_word(hash_seed, nexthop->ifindex);

	hash = mix_word(hash, WORD(nexthop->dmac, 0));
	return finish_hash(mix_word(hash, *(const __u16 *)(nexthop->dmac + 4) | (__u32)nexthop->neighbour << 16));
}

/* Is it for this packet to have its neighbour asked for? */
static __always_inline int must_ask(const struct packet *p, const struct flow *f)
{
	__u32 neighbour = neighbour_of(&f->nexthop), slot = neighbour & (ASKED_SLOTS - 1);

	if (asked[slot].neighbour == neighbour && seconds_since(asked[slot].second, p->now) < ASK_SECONDS)
		return 0;
	asked[slot].neighbour = neighbour;
	asked[slot].second = p->now;
	return 1;
}

static __always_inline int takes_frames(const context *ctx, __u32 ifindex)
{
	struct interface *out;

	if (ifindex == context_ifindex(ctx))
		return 1;
	out = bpf_map_lookup_elem(&interfaces, &ifindex);
	return out && out->has_xdp;
}

static __always_inline int may_leave(context *ctx, struct packet *p, struct flow *f, int family)
{
	if (!hops_left(ctx, family))
		return 0;
	if (has_expired(p, f)) {
		if (!f->nexthop.ifindex || must_ask(p, f))
			return 0;
		refresh_way(ctx, f, family, INTERFACE_UPLINK);
	}
	return f->nexthop.ifindex && knows_neighbour(&f->nexthop) && fits(ctx, p, f->nexthop.mtu) &&
	       takes_frames(ctx, f->nexthop.ifindex);
}

#endif /* PENSTOCK_XDP_WAY_H */
