/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whether a packet may leave by its flow's next hop without the stack.
 *
 * Decides: what keeps a packet from that: it is larger than the way, its hops are spent, there is no way.
 * Rules: a next hop that has expired is looked up again by whoever meets it; one that leads to another kind of
 * interface than the flow goes to is none.
 * Must never: decide what becomes of a packet that may not.
 */
#ifndef PENSTOCK_WAY_OUT_H
#define PENSTOCK_WAY_OUT_H

#include "nexthop.h"

static __always_inline int fits(context *ctx, const struct packet *p, __u16 mtu)
{
	__u32 headers = p->l4 - ETH_HLEN + p->l4_header;
	__u32 segment = context_gso_size(ctx);
	__u32 length = segment ? headers + segment : context_length(ctx) - ETH_HLEN;

	return length <= mtu;
}

static __always_inline int hops_left(context *ctx, int family)
{
	__u8 *ip = (void *)(long)ctx->data + ETH_HLEN;

	if ((void *)ip + sizeof(struct iphdr) > (void *)(long)ctx->data_end)
		return 0;
	return (family == AF_INET ? ip[8] : ip[7]) > 1;
}

static __always_inline int has_expired(const struct packet *p, const struct flow *f)
{
	return (__s32)(p->now - f->nexthop.expires) >= 0;
}

/* Looks the next hop up again, which must be behind an interface of role `wanted`. */
static __always_inline void refresh_way(context *ctx, struct flow *f, int family, int wanted)
{
	if (nexthop_refresh(ctx, f, family) != wanted)
		f->nexthop.ifindex = 0;
}

#endif /* PENSTOCK_WAY_OUT_H */
