/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A TCP segment that met no established flow: is it part of a handshake that we know?
 */
#ifndef PENSTOCK_HALF_OPEN_H
#define PENSTOCK_HALF_OPEN_H

#include "translate.h"

/* Moves the state of the packet's half-open flow on. Returns the table where its entry is now, or FLOW_IS_ABSENT. */
VERIFIED_ONCE int half_open_step(struct __sk_buff *skb, int family)
{
	struct packet *p = this_cpu_packet();
	struct pair *scratch = this_cpu_pair();
	struct {
		__be32 seq, ack;
	} tcp;
	struct flow *f, *twin;
	enum tcp_step step;
	__u32 generation;

	if (!p || !scratch)
		return FLOW_IS_ABSENT;
	f = flow_lookup(TABLE_HALF_OPEN, family, &p->tuple);
	if (!f)
		return FLOW_IS_ABSENT;
	/* From outside only requests, and replies that we asked for by SNAT: nobody else speaks for a backend. */
	if (p->hook == HOOK_UPLINK_INGRESS && (f->flags & (FLOW_REPLY | FLOW_SNAT)) == FLOW_REPLY)
		return FLOW_IS_ABSENT;
	generation = f->generation;
	twin = live_twin(TABLE_HALF_OPEN, family, &p->tuple, f, &scratch->twin);
	if (!twin) {
		twin_key(family, &p->tuple, f, &scratch->twin);
		pair_remove(TABLE_HALF_OPEN, family, &p->tuple, &scratch->twin, generation);
		return FLOW_IS_ABSENT;
	}
	if (bpf_skb_load_bytes(skb, p->l4 + offsetof(struct tcphdr, seq), &tcp, sizeof(tcp)))
		return FLOW_IS_ABSENT;
	if (!(f->flags & FLOW_REPLY) && has_lost_backend(f, IPPROTO_TCP))
		step = STEP_REOPEN; /* nobody to reset yet: another backend may finish the handshake */
	else if (f->flags & FLOW_REPLY)
		step = half_open_reply(f, twin, p->tcp_flags, bpf_ntohl(tcp.seq), bpf_ntohl(tcp.ack));
	else
		step = half_open_request(f, twin, p->tcp_flags, bpf_ntohl(tcp.seq), bpf_ntohl(tcp.ack));
	if (step == STEP_REOPEN) {
		pair_remove(TABLE_HALF_OPEN, family, &p->tuple, &scratch->twin, generation);
		return FLOW_IS_ABSENT;
	}
	f->seen = now_seconds();
	return step == STEP_PROMOTE && !promote(family, f) ? TABLE_TCP : TABLE_HALF_OPEN;
}

#endif /* PENSTOCK_HALF_OPEN_H */
