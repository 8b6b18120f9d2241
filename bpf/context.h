/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The packet's context, whichever hook hands it over: one core is compiled for TC and for XDP.
 *
 * Decides: what the two contexts are both asked for, and by which name.
 * Rules: `data` and `data_end` have the same names in both; the rest is here. A program says before its first include
 * which it is: PENSTOCK_XDP, or nothing for TC. XDP sees frames as the wire had them: no super-packets, no unfinished
 * checksums, no sum kept beside the packet. What it lacks must not get as far as a verifier: the names of such helpers
 * are poisoned, so that a header which needs one cannot be included.
 * Must never: decide anything about a packet, or hide that a hook cannot do a thing.
 */
#ifndef PENSTOCK_CONTEXT_H
#define PENSTOCK_CONTEXT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "checksum.h"
#include "verifier.h"

#ifdef PENSTOCK_XDP

typedef struct xdp_md context;

#pragma GCC poison bpf_skb_pull_data bpf_skb_load_bytes bpf_skb_store_bytes bpf_skb_change_tail bpf_skb_change_head
#pragma GCC poison bpf_l3_csum_replace bpf_l4_csum_replace bpf_csum_update bpf_clone_redirect bpf_redirect_neigh
#pragma GCC poison bpf_redirect_peer

static __always_inline __u32 context_length(const context *ctx)
{
	return (void *)(long)ctx->data_end - (void *)(long)ctx->data;
}

static __always_inline __u32 context_ifindex(const context *ctx)
{
	return ctx->ingress_ifindex;
}

/* Octets of data in each segment of a super-packet, and how many those are. */
static __always_inline __u32 context_gso_size(const context *ctx)
{
	return 0;
}

static __always_inline __u32 context_gso_segs(const context *ctx)
{
	return 0;
}

/* The TCP or UDP checksum at offset `at` follows a change of `diff`. `flags`: those of bpf_l4_csum_replace. */
static __always_inline long replace_checksum(context *ctx, __u32 at, __u32 diff, __u64 flags)
{
	__u16 *field;

	OPAQUE(at);
	field = (void *)(long)ctx->data + at;
	if ((void *)(field + 1) > (void *)(long)ctx->data_end)
		return -1;
	*field = adjusted(*field, diff);
	if ((flags & BPF_F_MARK_MANGLED_0) && !*field)
		*field = 0xffff; /* 0 would say that none was made */
	return 0;
}

/* Where the sum of the whole packet is kept (CHECKSUM_COMPLETE), it follows a change that nothing in it balances. */
static __always_inline void follow_sum(context *ctx, __u32 diff)
{
}

#else

typedef struct __sk_buff context;

static __always_inline __u32 context_length(const context *ctx)
{
	return ctx->len;
}

static __always_inline __u32 context_ifindex(const context *ctx)
{
	return ctx->ifindex;
}

static __always_inline __u32 context_gso_size(const context *ctx)
{
	return ctx->gso_size;
}

static __always_inline __u32 context_gso_segs(const context *ctx)
{
	return ctx->gso_segs;
}

static __always_inline long replace_checksum(context *ctx, __u32 at, __u32 diff, __u64 flags)
{
	return bpf_l4_csum_replace(ctx, at, 0, diff, flags);
}

static __always_inline void follow_sum(context *ctx, __u32 diff)
{
	bpf_csum_update(ctx, diff); /* -ENOTSUPP unless CHECKSUM_COMPLETE: nothing to do then */
}

#endif /* PENSTOCK_XDP */

#endif /* PENSTOCK_CONTEXT_H */
