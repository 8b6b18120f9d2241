// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The packet's way, as XDP sees it: what leaves by a NIC, and what is dropped without a word. The accelerator: whatever
 * it passes goes to TC (tc.bpf.c, which is to be read first), as if there were no XDP.
 *
 *   parse -> TCP or UDP, whole, plain headers, to this machine?
 *         -> known flow of a remote backend, either direction, established, nothing but data in it?
 *              alive, its backend there, its next hop known (xdp_way.h)?  count, rewrite, send out of the NIC
 *         -> a first SYN, or UDP, that TC would turn away without an answer (unanswered.h)?  drop
 *         -> all else: pass
 *
 * Rules: what is passed is untouched and uncounted: TC does it, and counts it once. What TC answers (a reset, an ICMP
 * error, a neighbour) it goes on answering, and state changes (SYN, FIN, RST, handshakes, fragments) are its own: they
 * are few. Pods on the node are its own too: a frame sent to an interface that does not take it is lost, and nobody is
 * told. Same maps, same verdicts, under a hook of its own; of two sets that which is in force acts (in_force.h).
 * Must never: begin a flow, move one from table to table, or answer.
 */
#define PENSTOCK_XDP

#include "alive.h"
#include "counts.h"
#include "in_force.h"
#include "rewrite.h"
#include "tcp_state.h"
#include "trace.h"
#include "unanswered.h"
#include "xdp_way.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* Is it addressed to the uplink that it came in by? Others are for other machines (promiscuous mode), or for many. */
static __always_inline int is_for_us(const context *ctx)
{
	__u32 ifindex = context_ifindex(ctx);
	struct interface *in = bpf_map_lookup_elem(&interfaces, &ifindex);
	__u16 *to = (void *)(long)ctx->data, *mac;

	if (!in || in->role != INTERFACE_UPLINK || (void *)(to + 3) > (void *)(long)ctx->data_end)
		return 0;
	mac = (__u16 *)in->mac;
	return to[0] == mac[0] && to[1] == mac[1] && to[2] == mac[2];
}

/* A packet that met an entry: FLOW_LEFT_TO_TC, or the verdict. */
static __always_inline int carry(context *ctx, struct packet *p, struct flow *f, int family, struct weight weight,
				 int *action)
{
	__u32 generation = f->generation, backend_id = f->backend_id, now = read_clock(p), ifindex;
	int is_reply = f->flags & FLOW_REPLY, is_udp = p->protocol == IPPROTO_UDP;
	struct rewrite *r = &p->to;

	if (!(f->flags & FLOW_REMOTE) || (!is_udp && f->state != FLOW_ESTABLISHED))
		return FLOW_LEFT_TO_TC;
	if (is_udp && f->seen != now && keep_udp(family, f) != FLOW_GOES_ON)
		return FLOW_LEFT_TO_TC;
	if (!is_reply && has_lost_backend(f, is_udp))
		return FLOW_LEFT_TO_TC;
	if (!may_leave(ctx, p, f, family))
		return FLOW_LEFT_TO_TC;
	p->backend_id = backend_id;
	copy_rewrite(family, r, f);
	r->hop = 1;
	r->macs = 1;
	__builtin_memcpy(r->dmac, f->nexthop.dmac, 6);
	__builtin_memcpy(r->smac, f->nexthop.smac, 6);
	ifindex = f->nexthop.ifindex;
	if (is_another(family, f, &p->tuple, generation))
		return FLOW_LEFT_TO_TC;
	if (p->tcp_flags & TCP_ACK)
		f->expects = p->ack;
	if (f->seen != now)
		f->seen = now;
	count_flow(f, backend_id, is_reply, weight);
	if (rewrite(ctx, family, p, r))
		return DROP_INTERNAL;
	*action = ifindex == context_ifindex(ctx) ? XDP_TX : bpf_redirect(ifindex, 0);
	return is_reply ? VERDICT_REPLIED : VERDICT_FORWARDED;
}

static __always_inline int handle_ip(context *ctx, struct packet *p, int family)
{
	struct weight weight = weigh(ctx);
	int verdict, action = XDP_DROP;
	struct flow *f;

	if (parse(ctx, p, family) != PARSED_FLOW ||
	    p->l4 != ETH_HLEN + (family == AF_INET ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)))
		return XDP_PASS;
	if (p->tcp_flags & (TCP_FIN | TCP_RST))
		return XDP_PASS;
	if (p->protocol == IPPROTO_TCP) {
		f = flow_lookup(TABLE_TCP, family, &p->tuple);
		OPAQUE(f); /* as in tc.bpf.c */
	} else {
		f = flow_lookup(TABLE_UDP, family, &p->tuple);
	}
	if (f ? p->tcp_flags & TCP_SYN : p->protocol == IPPROTO_TCP && !is_first_syn(p->tcp_flags))
		return XDP_PASS;
	if (!is_for_us(ctx))
		return XDP_PASS;
	verdict = f ? carry(ctx, p, f, family, weight, &action) : drop_unanswered(family);
	if (verdict == FLOW_LEFT_TO_TC)
		return XDP_PASS;
	return end(ctx, p, HOOK_UPLINK_XDP, verdict, weight, action);
}

SEC("xdp")
int uplink_xdp(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct packet *p = this_cpu_packet();

	if (!p || !is_in_force() || (void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	p->hook = HOOK_UPLINK_XDP;
	p->fragment = FRAGMENT_NONE;
	p->listener_id = 0;
	p->backend_id = BACKEND_NONE;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return handle_ip(ctx, p, AF_INET);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return handle_ip(ctx, p, AF_INET6);
	return XDP_PASS;
}
