/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The way out of this node, cached in the flow entry for a second.
 *
 * Decides: by which interface, to which MAC and up to which length a flow's packets go.
 * Rules: the kernel's FIB decides (bpf_fib_lookup); we keep its answer so that a packet costs no look-up. It expires
 * here, in the data path, so that it stays right while the agent is dead. What it does not tell is the MTU of a
 * route, if that is not locked: that is in table `route_mtus`.
 * Must never: be believed for longer than a second.
 */
#ifndef PENSTOCK_NEXTHOP_H
#define PENSTOCK_NEXTHOP_H

#include "clock.h"
#include "flow.h"

#define NEXTHOP_SECONDS 1

static __always_inline long look_up_route(context *ctx, const struct flow *f, int family, __u16 length,
					  struct bpf_fib_lookup *fib)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = context_ifindex(ctx);
	fib->tot_len = length;
	if (family == AF_INET) {
		fib->family = AF_INET;
		fib->ipv4_src = WORD(f->to_saddr.octets, 0);
		fib->ipv4_dst = WORD(f->to_daddr.octets, 0);
	} else {
		fib->family = AF_INET6;
		copy_words(fib->ipv6_src, f->to_saddr.octets, 4);
		copy_words(fib->ipv6_dst, f->to_daddr.octets, 4);
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

/* The MTU of the route to where `f` sends its packets, 0 if it has none of its own. */
static __always_inline __u32 route_mtu(const struct flow *f, int family)
{
	struct network key = {.prefix = 32 + (family == AF_INET ? 32 : 128), .family = family};
	__u32 *mtu;

	copy_words(key.address.octets, f->to_daddr.octets, 4);
	mtu = bpf_map_lookup_elem(&route_mtus, &key);
	return mtu ? *mtu : 0;
}

/* A mix of the next hop's address, with which the look-up has replaced the destination's (IPv4's in the first word). */
static __always_inline __u16 mix_of_neighbour(const struct bpf_fib_lookup *fib)
{
	__u32 mixed = 0;

	for (int i = 0; i < 4; i++)
		mixed = mixed * 31 + fib->ipv6_dst[i];
	return mixed * 0x9e3779b1 >> 16;
}

/* Role of the interface that leads to where `f` sends its packets, 0 for none; fills in f->nexthop. */
VERIFIED_ONCE int nexthop_refresh(context *ctx, struct flow *f, int family)
{
	struct bpf_fib_lookup fib;
	struct interface *out;
	long found;
	__u32 ifindex, mtu;

	if (!f)
		return 0;
	/* Without a length the answer would hold the interface's MTU, not the route's. */
	found = look_up_route(ctx, f, family, 1, &fib);
	f->nexthop.expires = now_seconds() + NEXTHOP_SECONDS;
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH) {
		f->nexthop.ifindex = 0;
		return 0;
	}
	ifindex = fib.ifindex;
	f->nexthop.ifindex = ifindex;
	__builtin_memcpy(f->nexthop.dmac, fib.dmac, 6);
	__builtin_memcpy(f->nexthop.smac, fib.smac, 6);
	f->nexthop.neighbour = mix_of_neighbour(&fib);
	/* The MTU is told only together with a neighbour, or when nothing could be longer than it. */
	if (found == BPF_FIB_LKUP_RET_NO_NEIGH)
		look_up_route(ctx, f, family, 0xffff, &fib);
	f->nexthop.mtu = fib.mtu_result;
	mtu = route_mtu(f, family);
	if (mtu && mtu < f->nexthop.mtu)
		f->nexthop.mtu = mtu;
	out = bpf_map_lookup_elem(&interfaces, &ifindex);
	return out ? out->role : 0;
}

static __always_inline int knows_neighbour(const struct nexthop *nexthop)
{
	const __u8 *mac = nexthop->dmac;

	return mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5];
}

#endif /* PENSTOCK_NEXTHOP_H */
