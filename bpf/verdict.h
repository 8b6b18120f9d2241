/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Counting: every packet at every hook ends in exactly one verdict.
 *
 * Decides: which cell a packet is counted in.
 * Rules: only end() in trace.h calls count(), and the story (tc.bpf.c, xdp.bpf.c) that, for what ends there; what XDP
 * passes TC counts. Everything below them returns a verdict. A packet is counted as the wire's: gso_segs of a
 * super-packet.
 * Must never: count a packet twice, or not at all.
 */
#ifndef PENSTOCK_VERDICT_H
#define PENSTOCK_VERDICT_H

#include <linux/if_ether.h>

#include "context.h"
#include "maps.h"

/* What a packet weighs, taken before anything changes it. */
struct weight {
	__u32 packets;
	__u32 bytes; /* from the network header on */
};

static __always_inline struct weight weigh(const context *ctx)
{
	__u32 segments = context_gso_segs(ctx), size;

	if (!segments && (size = context_gso_size(ctx))) /* virtio_net and tap leave the number to whoever needs it */
		segments = (context_length(ctx) - ETH_HLEN - 40 + size - 1) / size;
	struct weight w = {.packets = segments ? segments : 1, .bytes = context_length(ctx) - ETH_HLEN};

	return w;
}

static __always_inline void count(enum hook hook, enum verdict verdict, struct weight weight)
{
	__u32 index = hook * VERDICT_COUNT + verdict;
	struct verdict_count *c = bpf_map_lookup_elem(&verdicts, &index);

	if (!c)
		return;
	c->packets += weight.packets;
	c->bytes += weight.bytes;
}

#endif /* PENSTOCK_VERDICT_H */
