/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Internet checksums (RFC 1071), incrementally (RFC 1624) and from scratch.
 *
 * Decides: the sums themselves; which words changed is the caller's to say.
 * Rules: sums are of words as they lie in memory, in whatever byte order: RFC 1071 does not care.
 * Must never: touch a packet, or know what a field means: UDP's 0 (no checksum) is for whoever writes it.
 */
#ifndef PENSTOCK_CHECKSUM_H
#define PENSTOCK_CHECKSUM_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline __u32 fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return sum;
}

/* What replacing word `from` by `to` adds to a sum of words. */
static __always_inline __u64 difference(__u32 from, __u32 to)
{
	return (__u64)(__u32)~from + to;
}

/* A checksum field after its words changed by `diff`. */
static __always_inline __u16 adjusted(__u16 check, __u32 diff)
{
	return ~fold((__u64)(__u16)~check + diff);
}

/* Sum of `size` bytes (a multiple of 4) on top of `seed`. bpf_csum_diff takes at most 512 before 6.13. */
static __always_inline __u32 sum_of(void *bytes, __u32 size, __u32 seed)
{
	return bpf_csum_diff(0, 0, bytes, size, seed);
}

#endif /* PENSTOCK_CHECKSUM_H */
