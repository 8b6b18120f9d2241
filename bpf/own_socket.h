/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Is a packet to the node's own address meant for a connection of the node's own?
 *
 * Decides: whether such a packet is left to the node.
 * Rules: asked only on a gateway address that is the node's own, of what has no flow and is no first SYN. The node
 * may have chosen the listener's port as the source of a connection to somebody else: what comes from there is the
 * node's. A socket that is not connected is another matter: the agent refuses a port that one has, so it came later.
 * Must never: be asked for a packet of a flow that is known.
 */
#ifndef PENSTOCK_OWN_SOCKET_H
#define PENSTOCK_OWN_SOCKET_H

#include "parse.h"

#ifndef BPF_F_CURRENT_NETNS
#define BPF_F_CURRENT_NETNS (-1L)
#endif
#define SOCKET_LISTENS 10 /* BPF_TCP_LISTEN */

/* Each reads its own kind of pointer: 6.1 allows no instruction two of them. */
static __always_inline int is_own_connection(struct __sk_buff *skb, struct bpf_sock_tuple *wanted, __u32 size)
{
	struct bpf_sock *socket = bpf_skc_lookup_tcp(skb, wanted, size, BPF_F_CURRENT_NETNS, 0);
	int is_own;

	if (!socket)
		return 0;
	is_own = socket->state != SOCKET_LISTENS;
	bpf_sk_release(socket);
	return is_own;
}

static __always_inline int is_own_conversation(struct __sk_buff *skb, struct bpf_sock_tuple *wanted, __u32 size)
{
	struct bpf_sock *socket = bpf_sk_lookup_udp(skb, wanted, size, BPF_F_CURRENT_NETNS, 0);
	int is_own;

	if (!socket)
		return 0;
	is_own = socket->dst_port != 0;
	bpf_sk_release(socket);
	return is_own;
}

VERIFIED_ONCE int is_nodes_own(struct __sk_buff *skb, int family)
{
	struct packet *p = this_cpu_packet();
	struct bpf_sock_tuple wanted = {};
	__u32 size = family == AF_INET ? sizeof(wanted.ipv4) : sizeof(wanted.ipv6);

	if (!p)
		return 0;
	OPAQUE(p); /* as in flow_in_the_making() */
	if (family == AF_INET) {
		wanted.ipv4.saddr = WORD(p->tuple.v4.saddr, 0);
		wanted.ipv4.daddr = WORD(p->tuple.v4.daddr, 0);
		wanted.ipv4.sport = bpf_htons(p->tuple.v4.sport);
		wanted.ipv4.dport = bpf_htons(p->tuple.v4.dport);
	} else {
		copy_words(wanted.ipv6.saddr, p->tuple.v6.saddr, 4);
		copy_words(wanted.ipv6.daddr, p->tuple.v6.daddr, 4);
		wanted.ipv6.sport = bpf_htons(p->tuple.v6.sport);
		wanted.ipv6.dport = bpf_htons(p->tuple.v6.dport);
	}
	return p->protocol == IPPROTO_TCP ? is_own_connection(skb, &wanted, size) :
					    is_own_conversation(skb, &wanted, size);
}

#endif /* PENSTOCK_OWN_SOCKET_H */
