/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Counting of listeners, backends and flows; packets by verdict are counted in verdict.h.
 *
 * Decides: what of a flow is counted where.
 * Rules: listeners and backends per CPU, so nothing is shared. A flow's own counts are shared by the CPUs that carry
 * its packets, and are not added to atomically, which each packet would pay for: what two CPUs add at once may count
 * once. A TCP connection counts when it is established, a UDP flow when it begins.
 * Must never: decide anything by what was counted: the limit of connections has a count of its own (policy.h).
 */
#ifndef PENSTOCK_COUNTS_H
#define PENSTOCK_COUNTS_H

#include "verdict.h"

static __always_inline void count_connection(__u32 backend_id)
{
	struct backend *backend = bpf_map_lookup_elem(&backends, &backend_id);
	struct backend_count *count = bpf_map_lookup_elem(&backend_counts, &backend_id);
	struct listener_count *listener;
	__u32 listener_id;

	if (!backend || !count)
		return;
	count->connections++;
	listener_id = backend->listener_id;
	listener = bpf_map_lookup_elem(&listener_counts, &listener_id);
	if (listener)
		listener->connections++;
}

/* Why a listener did not take a new flow. */
enum turned_away {
	AWAY_REJECTED, /* in the share of REJECT */
	AWAY_REFUSED,  /* no room for it */
	AWAY_DENIED,   /* a policy denies its source */
	AWAY_LIMITED,  /* a policy allows no more */
};

static __always_inline void count_uncounted(__u32 listener_id)
{
	struct listener_count *count = bpf_map_lookup_elem(&listener_counts, &listener_id);

	if (count)
		count->uncounted++;
}

static __always_inline void count_turned_away(__u32 listener_id, enum turned_away why)
{
	struct listener_count *count = bpf_map_lookup_elem(&listener_counts, &listener_id);

	if (!count)
		return;
	if (why == AWAY_REJECTED)
		count->rejected++;
	else if (why == AWAY_REFUSED)
		count->refused++;
	else if (why == AWAY_DENIED)
		count->denied++;
	else
		count->limited++;
}

static __always_inline void count_flow(struct flow *f, __u32 backend_id, int is_reply, struct weight weight)
{
	struct backend_count *count = bpf_map_lookup_elem(&backend_counts, &backend_id);

	f->packets += weight.packets;
	f->bytes += weight.bytes;
	if (!count)
		return;
	if (is_reply) {
		count->reply_packets += weight.packets;
		count->reply_bytes += weight.bytes;
	} else {
		count->request_packets += weight.packets;
		count->request_bytes += weight.bytes;
	}
}

#endif /* PENSTOCK_COUNTS_H */
