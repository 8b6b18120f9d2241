/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Begins flows: who may, with which backend, under which address, and when a handshake is believed.
 *
 * Rules:
 *   - A TCP flow begins half-open. Only a finished handshake moves it to the table that is never evicted (tcp_state.h).
 *   - Room there is promised at the SYN: refused SYNs cost a client a clean RST, a refused promotion would cost a
 *     connection. The table is larger than tcp_flows_max by all half-open flows that may be promoted meanwhile.
 *   - A segment in mid-stream without a flow is adopted: the hash finds the backend it had (RST if it was another).
 *   - The backend sees the client's own address where the reply must pass our hooks. Where it would not (a client on
 *     the node; a backend behind the interface the client is behind) it sees the gateway's, and a port of ours. Not so
 *     if that is the node's own address: the stack refuses its own address as a source.
 * Must never: touch a live pair of another flow. A taken reply tuple means another source port, or a refusal.
 */
#ifndef PENSTOCK_ADMIT_H
#define PENSTOCK_ADMIT_H

#include "choose.h"
#include "listener.h"
#include "nexthop.h"
#include "pair.h"
#include "reject.h"
#include "tcp_state.h"

/* Outcomes beyond enum verdict. */
enum {
	FLOW_IS_ABSENT = -1, /* as if there were no entry */
	FLOW_GOES_ON = -2,   /* translate the packet */
};

#define SNAT_PORT_MIN 1024
#define SNAT_PROBES 16

static __always_inline int has_room(int family)
{
	__u32 zero = 0;
	struct flow_usage *usage = bpf_map_lookup_elem(&flow_usage, &zero);

	return usage && (family == AF_INET ? usage->tcp4 : usage->tcp6) < tcp_flows_max;
}

/* Hands a flow over to ageing. Not 0: the turnstile is full. */
static __always_inline long watch_age(enum table table, int family, struct pair *pair)
{
	if (family == AF_INET) {
		__builtin_memcpy(&pair->age4.key, &pair->request_key, sizeof(pair->age4.key));
		pair->age4.generation = pair->request.generation;
		pair->age4.due = 0;
		if (table == TABLE_TCP)
			return bpf_map_push_elem(&ageing_tcp4, &pair->age4, 0);
		return bpf_map_push_elem(&ageing_udp4, &pair->age4, 0);
	}
	__builtin_memcpy(&pair->age6.key, &pair->request_key, sizeof(pair->age6.key));
	pair->age6.generation = pair->request.generation;
	pair->age6.due = 0;
	if (table == TABLE_TCP)
		return bpf_map_push_elem(&ageing_tcp6, &pair->age6, 0);
	return bpf_map_push_elem(&ageing_udp6, &pair->age6, 0);
}

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

/* A new flow in the share of REJECT, or one that we had no room for. */
static __always_inline void count_turned_away(__u32 listener_id, int rejected)
{
	struct listener_count *count = bpf_map_lookup_elem(&listener_counts, &listener_id);

	if (!count)
		return;
	if (rejected)
		count->rejected++;
	else
		count->refused++;
}

static __always_inline void reply_key_of(int family, struct pair *pair)
{
	twin_key(family, &pair->request_key, &pair->request, &pair->reply_key);
}

/* Puts the pair in under the client's own source address and port. */
static __always_inline int insert_kept(enum table table, int family, struct pair *pair)
{
	reply_key_of(family, pair);
	pair->request.key_check = key_check(family, &pair->request_key);
	pair->reply.key_check = key_check(family, &pair->reply_key);
	/* The same tuple may be live as an established flow: then it is taken, whatever this table says. */
	if (table == TABLE_HALF_OPEN && !evict_if_dead(TABLE_TCP, family, &pair->reply_key, &pair->twin))
		return -EEXIST;
	return pair_insert(table, family);
}

/* Puts the pair in under the gateway's address: the client's port if it is free, else random ones. */
VERIFIED_ONCE int insert_snat(enum table table, int family)
{
	struct pair *pair = this_cpu_pair();
	struct flow *request;
	int error = -EEXIST;
	__u16 port;

	if (!pair)
		return -1;
	request = &pair->request;
	port = request->to_sport;
	if (family == AF_INET)
		WORD(request->to_saddr.octets, 0) = WORD(pair->request_key.v4.daddr, 0);
	else
		copy_words(request->to_saddr.octets, pair->request_key.v6.daddr, 4);
	request->flags |= FLOW_SNAT;
	pair->reply.flags |= FLOW_SNAT;
	for (int i = 0; i < SNAT_PROBES && error == -EEXIST; i++) {
		if (i || port < SNAT_PORT_MIN)
			port = SNAT_PORT_MIN + bpf_get_prandom_u32() % (65536 - SNAT_PORT_MIN);
		request->to_sport = port;
		error = insert_kept(table, family, pair);
	}
	return error;
}

/* Where packets of an SNAT flow enter the stack: with the MAC of our own interface, or it would not take them. */
static __always_inline void enter_by_local(struct pair *pair)
{
	__u32 ifindex = local_ifindex;
	struct interface *local = bpf_map_lookup_elem(&interfaces, &ifindex);

	if (!local)
		return;
	__builtin_memcpy(pair->request.nexthop.dmac, local->mac, 6);
	__builtin_memcpy(pair->reply.nexthop.dmac, local->mac, 6);
}

/* Does the backend's reply pass a hook of ours if it is addressed to the client itself? */
static __always_inline int keeps_client_address(struct __sk_buff *skb, struct packet *p, struct pair *pair, int family)
{
	int role;

	if (p->hook == HOOK_LOCAL_EGRESS)
		return 0;
	role = nexthop_refresh(skb, &pair->request, family);
	if (pair->request.nexthop.ifindex == skb->ifindex)
		return p->node_address;
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

static __always_inline __u8 first_state(const struct packet *p)
{
	if (p->protocol == IPPROTO_UDP)
		return FLOW_UDP;
	return is_first_syn(p->tcp_flags) ? FLOW_SYN : FLOW_ADOPTED;
}

/*
 * A new flow of this CPU's packet to the backend chosen for it: FLOW_GOES_ON when both halves are in, else the verdict.
 * A lost race against the same flow on another CPU counts as success: its pair serves as well.
 */
VERIFIED_ONCE int begin_flow(struct __sk_buff *skb, int family)
{
	struct packet *p = this_cpu_packet();
	struct pair *pair = this_cpu_pair();
	struct backend *backend;
	int error = -EEXIST;
	enum table table;
	__u32 backend_id, isn = 0;

	if (!pair || !p)
		return DROP_INTERNAL;
	backend_id = p->backend_id;
	backend = bpf_map_lookup_elem(&backends, &backend_id);
	if (!backend)
		return DROP_NO_BACKEND;
	table = p->protocol == IPPROTO_UDP ? TABLE_UDP : TABLE_HALF_OPEN;
	if (p->protocol == IPPROTO_TCP && bpf_skb_load_bytes(skb, p->l4 + offsetof(struct tcphdr, seq), &isn, 4))
		return DROP_INTERNAL;
	begin_pair(family, p, pair, backend_id, backend);
	pair->request.isn = bpf_ntohl(isn);
	pair->request.state = first_state(p);
	pair->reply.state = pair->request.state;
	if (keeps_client_address(skb, p, pair, family))
		error = insert_kept(table, family, pair);
	if (error == -EEXIST && flow_lookup(table, family, &pair->request_key))
		return FLOW_GOES_ON;
	if (error == -EEXIST && !p->node_address) {
		pair->request.flags &= ~FLOW_REDIRECT;
		pair->reply.flags &= ~FLOW_REDIRECT;
		enter_by_local(pair);
		error = insert_snat(table, family);
	}
	if (error == -EEXIST) {
		count_turned_away(p->listener_id, 0);
		if (p->protocol == IPPROTO_TCP && refuse(skb, p, family) == VERDICT_REJECTED_RST)
			return VERDICT_REFUSED_COLLISION;
		return DROP_FLOW_COLLISION;
	}
	if (error)
		return DROP_INTERNAL;
	if (table == TABLE_UDP) {
		count_connection(backend_id);
		watch_age(TABLE_UDP, family, pair); /* without it the flow expires when it is next looked up */
	}
	return FLOW_GOES_ON;
}

/* The handshake is complete: the pair moves to the table that is never evicted. */
VERIFIED_ONCE int promote(int family, struct flow *half)
{
	struct packet *p = this_cpu_packet();
	struct pair *pair = this_cpu_pair();
	struct flow *twin;
	int error;

	if (!pair || !p || !half)
		return -1;
	__builtin_memcpy(&pair->request_key, &p->tuple, sizeof(pair->request_key));
	__builtin_memcpy(&pair->request, half, sizeof(pair->request));
	reply_key_of(family, pair);
	twin = flow_lookup(TABLE_HALF_OPEN, family, &pair->reply_key);
	if (!twin)
		return -1;
	__builtin_memcpy(&pair->reply, twin, sizeof(pair->reply));
	if (pair->request.generation != pair->reply.generation)
		return -1;
	pair->request.state = FLOW_ESTABLISHED;
	pair->reply.state = FLOW_ESTABLISHED;
	/* First, since a flow that ageing does not know would stand there for ever; half-open it can wait. */
	if (watch_age(TABLE_TCP, family, pair))
		return -1;
	error = pair_insert(TABLE_TCP, family);
	if (error)
		return error;
	pair_remove(TABLE_HALF_OPEN, family, &pair->request_key, &pair->reply_key, pair->request.generation);
	count_connection(pair->request.backend_id);
	return 0;
}

#endif /* PENSTOCK_ADMIT_H */
