/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The way out of this node, cached in the flow entry for a second.
 *
 * Rules: the kernel's FIB decides (bpf_fib_lookup); we keep its answer so that a packet costs no look-up. It expires
 * here, in the data path, so that it stays right while the agent is dead.
 */
#ifndef PENSTOCK_NEXTHOP_H
#define PENSTOCK_NEXTHOP_H

#include "clock.h"
#include "flow.h"

#define NEXTHOP_SECONDS 1

/* Role of the interface that leads to where `f` sends its packets, 0 for none; fills in f->nexthop. */
VERIFIED_ONCE int nexthop_refresh(struct __sk_buff *skb, struct flow *f, int family)
{
	struct bpf_fib_lookup fib = {};
	struct interface *out;
	long found;
	__u32 ifindex;

	if (!f)
		return 0;
	fib.ifindex = skb->ifindex;
	if (family == AF_INET) {
		fib.family = AF_INET;
		fib.ipv4_src = WORD(f->to_saddr.octets, 0);
		fib.ipv4_dst = WORD(f->to_daddr.octets, 0);
	} else {
		fib.family = AF_INET6;
		copy_words(fib.ipv6_src, f->to_saddr.octets, 4);
		copy_words(fib.ipv6_dst, f->to_daddr.octets, 4);
	}
	found = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	f->nexthop.expires = now_seconds() + NEXTHOP_SECONDS;
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    found != BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		f->nexthop.ifindex = 0;
		return 0;
	}
	ifindex = fib.ifindex;
	f->nexthop.ifindex = ifindex;
	f->nexthop.mtu = found == BPF_FIB_LKUP_RET_NO_NEIGH ? 0 : fib.mtu_result;
	__builtin_memcpy(f->nexthop.dmac, fib.dmac, 6);
	__builtin_memcpy(f->nexthop.smac, fib.smac, 6);
	out = bpf_map_lookup_elem(&interfaces, &ifindex);
	return out ? out->role : 0;
}

#endif /* PENSTOCK_NEXTHOP_H */
