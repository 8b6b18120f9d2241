/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The data path's clock: whole seconds since boot.
 * The coarse clock costs 6 ns where ktime_get_ns costs 36 (kernel 5.11 and later have it).
 *
 * Decides: what "now" is to every idle limit.
 * Rules: one clock for all that is compared, and abi.h's times are its seconds.
 * Must never: be used where less than a tick counts: what is measured in nanoseconds has ktime_get_ns.
 */
#ifndef PENSTOCK_CLOCK_H
#define PENSTOCK_CLOCK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define NSEC_PER_SEC 1000000000ULL

static __always_inline __u32 now_seconds(void)
{
	return bpf_ktime_get_coarse_ns() / NSEC_PER_SEC;
}

/* Two CPUs' clocks may differ by a tick, so what another has just noted may lie ahead: that is 0 seconds ago. */
static __always_inline __u32 seconds_since(__u32 then, __u32 now)
{
	return (__s32)(now - then) > 0 ? now - then : 0;
}

#endif /* PENSTOCK_CLOCK_H */
