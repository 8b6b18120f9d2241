/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Begins flows: whether there is room, and whose address the backend sees.
 *
 * Decides: whether a flow begins here, and under whose address and port.
 * Rules:
 *   - A TCP flow begins half-open. Only a finished handshake moves it to the table that is never evicted (tcp_state.h).
 *   - Room there is promised at the SYN: refused SYNs cost a client a clean RST, a refused promotion would cost a
 *     connection. The table is larger than tcp_flows_max by all half-open flows that may be promoted meanwhile.
 *   - A segment in mid-stream without a flow is adopted where the address is kept: the hash finds the backend it had
 *     (which resets it if it was another). Elsewhere we reset it.
 *   - The backend sees the client's own address where the reply must pass our hooks: a backend on the node, or behind
 *     an uplink in a segment that the operator says is symmetric. Else it sees an address of ours (snat.h): so it is
 *     for backends behind an uplink, and for clients on the node. A gateway's address that is the node's own is never
 *     lent to a backend on the node: replies would not leave the stack. Without a way to the backend a flow begins as
 *     if it were on the node, so that the stack can tell the client; its next first packet begins it anew.
 * Must never: touch a live pair of another flow. A taken reply tuple means another source port, or a refusal.
 */
#ifndef PENSTOCK_ADMIT_H
#define PENSTOCK_ADMIT_H

#include "choose.h"
#include "counts.h"
#include "listener.h"
#include "nexthop.h"
#include "outcome.h"
#include "reject.h"
#include "snat.h"
#include "tcp_state.h"

static __always_inline int is_symmetric(int family, const struct address *backend)
{
	struct network key = {.prefix = 32 + (family == AF_INET ? 32 : 128), .family = family};

	if (!has_symmetric)
		return 0;
	copy_words(key.address.octets, backend->octets, 4);
	return bpf_map_lookup_elem(&symmetric, &key) != 0;
}

/* A machine that is asked for itself would take its own address from outside for a forgery. */
static __always_inline int is_own_client(int family, const struct flow *request)
{
	return equal_words(request->to_saddr.octets, request->to_daddr.octets, words_of(family));
}

/* Does the backend's reply pass a hook of ours if it is addressed to the client itself? */
static __always_inline int keeps_client_address(struct __sk_buff *skb, struct packet *p, struct pair *pair, int family)
{
	int role = nexthop_refresh(skb, &pair->request, family);

	if (role == INTERFACE_UPLINK) {
		pair->request.flags |= FLOW_REMOTE;
		pair->reply.flags |= FLOW_REMOTE;
		return p->hook == HOOK_UPLINK_INGRESS && is_symmetric(family, &pair->request.to_daddr) &&
		       !is_own_client(family, &pair->request);
	}
	if (p->hook == HOOK_LOCAL_EGRESS)
		return 0;
	if (delivery == DELIVERY_REDIRECT && role == INTERFACE_POD) {
		pair->request.flags |= FLOW_REDIRECT;
		pair->reply.flags |= FLOW_REDIRECT;
	}
	return 1;
}

static __always_inline void begin_pair(int family, struct packet *p, struct pair *pair, __u32 backend_id,
				       const struct backend *backend)
{
	struct flow *request = &pair->request, *reply = &pair->reply;

	__builtin_memset(pair, 0, sizeof(*pair));
	__builtin_memcpy(&pair->request_key, &p->tuple, sizeof(pair->request_key));
	request->generation = bpf_get_prandom_u32() | 1;
	request->seen = now_seconds();
	request->backend_id = backend_id;
	request->backend_generation = backend->generation;
	request->idle_limit = p->idle_limit;
	__builtin_memcpy(reply, request, sizeof(*reply));
	reply->flags = FLOW_REPLY;
	copy_words(request->to_daddr.octets, backend->address.octets, 4);
	request->to_dport = backend->port;
	if (family == AF_INET) {
		WORD(request->to_saddr.octets, 0) = WORD(p->tuple.v4.saddr, 0);
		request->to_sport = p->tuple.v4.sport;
	} else {
		copy_words(request->to_saddr.octets, p->tuple.v6.saddr, 4);
		request->to_sport = p->tuple.v6.sport;
	}
	rewrite_to_reverse_of(family, &pair->request_key, reply);
}

/* Octets of data; a short frame is padded, so they are counted by the IP header. */
static __always_inline __u32 segment_length(struct __sk_buff *skb, const struct packet *p, int family)
{
	__u32 headers = p->l4 + p->l4_header;

	return family == AF_INET ? payload_length(skb, headers, ETH_HLEN + offsetof(struct iphdr, tot_len), ETH_HLEN) :
				   payload_length(skb, headers, ETH_HLEN + offsetof(struct ipv6hdr, payload_len),
						  ETH_HLEN + sizeof(struct ipv6hdr));
}

/* A stream that is met in the middle had a source port already, which nobody remembers. */
static __always_inline int may_snat(const struct packet *p)
{
	return p->protocol == IPPROTO_UDP || is_first_syn(p->tcp_flags);
}

static __always_inline __u8 first_state(const struct packet *p)
{
	if (p->protocol == IPPROTO_UDP)
		return FLOW_UDP;
	return is_first_syn(p->tcp_flags) ? FLOW_SYN : FLOW_ADOPTED;
}

static __always_inline enum table first_table(const struct packet *p)
{
	return p->protocol == IPPROTO_UDP ? TABLE_UDP : TABLE_HALF_OPEN;
}

/* What came of inserting the pair: the verdict, FLOW_GOES_ON, FLOW_COLLIDES or FLOW_MIDSTREAM. */
static __always_inline int settle(struct packet *p, int family, struct pair *pair, int error)
{
	/* another CPU found a port for it */
	if (error == -EEXIST && flow_lookup(first_table(p), family, &pair->request_key))
		return FLOW_GOES_ON;
	if (error == -EEXIST && !may_snat(p))
		return FLOW_MIDSTREAM;
	if (error == -EEXIST) {
		count_turned_away(p->listener_id, AWAY_REFUSED);
		return FLOW_COLLIDES;
	}
	if (error == PAIR_EXISTS)
		return FLOW_GOES_ON;
	if (error)
		return DROP_INTERNAL;
	if (p->protocol == IPPROTO_UDP) {
		count_connection(p->backend_id);
		watch_age(TABLE_UDP, family, pair); /* without it the flow expires when it is next looked up */
	}
	return FLOW_GOES_ON;
}

/*
 * A new flow of this CPU's packet to the backend chosen for it: FLOW_GOES_ON when both halves are in,
 * FLOW_NEEDS_PORT, FLOW_COLLIDES, FLOW_MIDSTREAM, or the verdict. A lost race against the same flow on another CPU
 * counts as success: its pair serves as well, established or not. If it is not complete yet, ours says the same and
 * carries this packet.
 */
VERIFIED_ONCE int begin_flow(struct __sk_buff *skb, int family)
{
	struct packet *p = this_cpu_packet();
	struct pair *pair = this_cpu_pair();
	struct flow *established;
	struct backend *backend;
	int error = -EEXIST;
	__u32 backend_id;

	if (!pair || !p)
		return DROP_INTERNAL;
	backend_id = p->backend_id;
	backend = bpf_map_lookup_elem(&backends, &backend_id);
	if (!backend)
		return DROP_NO_BACKEND;
	begin_pair(family, p, pair, backend_id, backend);
	if (p->protocol == IPPROTO_TCP) {
		pair->request.isn = p->seq;
		pair->request.expects = p->ack;
	}
	if (p->protocol == IPPROTO_TCP)
		pair->request.early = segment_length(skb, p, family);
	pair->request.state = first_state(p);
	pair->reply.state = pair->request.state;
	if (first_table(p) == TABLE_HALF_OPEN) {
		established = flow_lookup(TABLE_TCP, family, &pair->request_key);
		if (established && established->generation) /* else another CPU is about to take it out */
			return FLOW_GOES_ON;
	}
	if (keeps_client_address(skb, p, pair, family))
		error = insert_kept(first_table(p), family, pair);
	if (error == -EEXIST && may_snat(p))
		return FLOW_NEEDS_PORT;
	return settle(p, family, pair, error);
}

/* After begin_flow() asked for a port (a function of its own, called from the top, for the stack's sake). */
VERIFIED_ONCE int begin_flow_by_snat(int family)
{
	struct packet *p = this_cpu_packet();
	struct pair *pair = this_cpu_pair();
	__u32 sources = 0;
	int error = -EEXIST;

	if (!pair || !p)
		return DROP_INTERNAL;
	pair->request.flags &= ~FLOW_REDIRECT;
	pair->reply.flags &= ~FLOW_REDIRECT;
	if (pair->request.flags & FLOW_REMOTE)
		sources = sources_of(pair->request.nexthop.ifindex, family);
	if (sources || !p->node_address)
		error = insert_snat(first_table(p), family, pair, sources);
	return settle(p, family, pair, error);
}

#endif /* PENSTOCK_ADMIT_H */
