/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A client's segment that becomes a reset of the backend it goes to.
 *
 * Decides: how a backend, and the node's connection tracking on the way to it, hear that a connection has ended which
 * only we have ended.
 * Rules: numbers and length stay the segment's, so it is believed where the segment would have been; a FIN goes.
 * Must never: be sent where the client has not sent anything: we know of no number that its backend would believe.
 */
#ifndef PENSTOCK_RESET_H
#define PENSTOCK_RESET_H

#include "maps.h"
#include "parse.h"
#include "settings.h"

PINNED_MAP(told_scratch, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct packet);

/* Makes the packet in hand the reset. */
VERIFIED_ONCE int turn_into_reset(struct __sk_buff *skb)
{
	struct packet *p = this_cpu_packet();
	__u16 before, after;
	__u32 at;

	if (!p)
		return -1;
	at = p->l4 + offsetof(struct tcphdr, ack_seq) + 4; /* data offset and flags */
	if (bpf_skb_load_bytes(skb, at, &before, 2))
		return -1;
	after = (before & ~bpf_htons(TCP_FIN)) | bpf_htons(TCP_RST);
	if (bpf_l4_csum_replace(skb, p->l4 + offsetof(struct tcphdr, check), before, after, 2))
		return -1;
	p->tcp_flags = (p->tcp_flags & ~TCP_FIN) | TCP_RST; /* as a trace shows it */
	p->turned = 1;
	return bpf_skb_store_bytes(skb, at, &after, 2, 0);
}

/*
 * Sends the segment in hand through its hook once more, as a reset; what it is then is no segment to go on with, but
 * can be answered as before: what is known of it stays.
 */
VERIFIED_ONCE int reset_backend(struct __sk_buff *skb)
{
	__u32 zero = 0, ifindex = skb->ifindex;
	struct packet *p = this_cpu_packet(), *known = bpf_map_lookup_elem(&told_scratch, &zero);

	if (!p || !known)
		return -1;
	__builtin_memcpy(known, p, sizeof(*known));
	if (turn_into_reset(skb))
		return -1;
	if (!is_trial)
		bpf_clone_redirect(skb, ifindex, p->hook == HOOK_LOCAL_EGRESS ? 0 : BPF_F_INGRESS);
	__builtin_memcpy(p, known, sizeof(*p)); /* at an egress hook the reset has had its turn in between */
	return 0;
}

#endif /* PENSTOCK_RESET_H */
