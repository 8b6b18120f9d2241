/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Counting: every packet at every hook ends in exactly one verdict.
 * Rules: only the entry programs in tc.bpf.c call count(); everything below them returns a verdict. A packet is
 * counted as the wire's: gso_segs of a super-packet.
 */
#ifndef PENSTOCK_VERDICT_H
#define PENSTOCK_VERDICT_H

#include "maps.h"

#define ETH_HEADER 14

static __always_inline __u32 wire_packets(const struct __sk_buff *skb)
{
	__u32 segments = skb->gso_segs;

	return segments ? segments : 1;
}

static __always_inline void count(const struct __sk_buff *skb, enum hook hook, enum verdict verdict)
{
	__u32 index = hook * VERDICT_COUNT + verdict;
	struct verdict_count *c = bpf_map_lookup_elem(&verdicts, &index);

	if (!c)
		return;
	c->packets += wire_packets(skb);
	c->bytes += skb->len - ETH_HEADER;
}

#endif /* PENSTOCK_VERDICT_H */
