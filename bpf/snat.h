/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flows whose backend sees the gateway's address and a port of ours.
 *
 * Rules: the client's own port if it is free and not privileged, else fresh random ones, for linear probing clusters;
 * what makes a port free is that its reply tuple can be inserted. Such packets enter the stack through our own
 * interface (deliver.h), and replies are routed there.
 */
#ifndef PENSTOCK_SNAT_H
#define PENSTOCK_SNAT_H

#include "pair.h"

#define SNAT_PORT_MIN 1024
#define SNAT_PROBES 16

/* Puts the pair in under the gateway's address: the client's port if it is free, else random ones. */
static __always_inline int insert_snat(enum table table, int family, struct pair *pair)
{
	struct flow *request = &pair->request;
	__u16 port = request->to_sport;
	int error = -EEXIST;

	if (family == AF_INET)
		WORD(request->to_saddr.octets, 0) = WORD(pair->request_key.v4.daddr, 0);
	else
		copy_words(request->to_saddr.octets, pair->request_key.v6.daddr, 4);
	request->flags |= FLOW_SNAT;
	pair->reply.flags |= FLOW_SNAT;
#pragma clang loop unroll(disable)
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

#endif /* PENSTOCK_SNAT_H */
