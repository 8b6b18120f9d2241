/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Is this packet addressed to a gateway, and is somebody listening?
 *
 * Decides: whose a packet is by its destination: a gateway's, and there a listener's.
 * Rules: an address is a gateway's if table `gateways` has it, and listened at if `listeners` has it with port and
 * protocol; the agent writes both.
 * Must never: choose a backend (choose.h), or write a table.
 */
#ifndef PENSTOCK_LISTENER_H
#define PENSTOCK_LISTENER_H

#include "maps.h"
#include "parse.h"

static __always_inline void destination(int family, const union tuple *t, struct address *address)
{
	WORD(address, 0) = 0;
	WORD(address, 1) = 0;
	WORD(address, 2) = 0;
	WORD(address, 3) = 0;
	if (family == AF_INET)
		WORD(address, 0) = WORD(t->v4.daddr, 0);
	else
		copy_words(address, t->v6.daddr, 4);
}

static __always_inline struct gateway *gateway_of(int family, const union tuple *t)
{
	struct address address __attribute__((aligned(8)));

	destination(family, t, &address);
	return bpf_map_lookup_elem(&gateways, &address);
}

/* A gateway's address as a source: nobody has it, and two gateways must not talk in circles. */
static __always_inline int is_from_gateway(int family, const union tuple *t)
{
	struct address address __attribute__((aligned(8))) = {};
	struct gateway *gateway;

	if (family == AF_INET)
		WORD(&address, 0) = WORD(t->v4.saddr, 0);
	else
		copy_words(&address, t->v6.saddr, 4);
	gateway = bpf_map_lookup_elem(&gateways, &address);
	return gateway && !(gateway->flags & GATEWAY_NODE_ADDRESS);
}

static __always_inline struct listener *listener_of(int family, const union tuple *t)
{
	struct listener_key key __attribute__((aligned(8)));

	destination(family, t, &key.address);
	key.port = family == AF_INET ? t->v4.dport : t->v6.dport;
	key.protocol = family == AF_INET ? t->v4.protocol : t->v6.protocol;
	key.pad = 0;
	return bpf_map_lookup_elem(&listeners, &key);
}

#endif /* PENSTOCK_LISTENER_H */
