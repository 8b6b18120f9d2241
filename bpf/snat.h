/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flows whose backend does not see the client: which address and port it sees instead.
 *
 * Decides: that address and port, and when there is none.
 * Rules:
 *   - Behind an uplink, where replies must find this very node: an address of the node's own and a port of the range
 *     that is kept free for us. On the node: the gateway's address, to which replies come through our own interface.
 *   - The client's own port if it is in the range and free, else fresh random ones, for linear probing clusters. When
 *     the range is nearly full, a stretch of it is searched: of 1 % that is free, chance would miss most. In it a
 *     handshake that nobody goes on with, or a UDP flow that is silent, gives up its port. It is SNAT_SEARCH ports,
 *     under the address that was drawn last: none free there does not mean that none is. When VAIN_SEARCHES of a
 *     CPU's have found nothing, it makes no more in that second.
 *   - What makes a port free is that its reply tuple can be inserted, so each backend address and port has the whole
 *     range. A tuple rests while the backend may hold TIME_WAIT on it (flow.h).
 *   - How many of the random ports were taken tells how full the range is, for the backends that new flows go to now:
 *     counting the ports in use would take a table of its own.
 * Must never: take a tuple that a live connection has.
 */
#ifndef PENSTOCK_SNAT_H
#define PENSTOCK_SNAT_H

#include "pair.h"

#define GATEWAY_PORT_MIN 1024 /* under a gateway's address, where nobody else has ports */
#define GATEWAY_PORT_MAX 65535
#define SNAT_PROBES 16
#define SNAT_SEARCH 1024

/* Addresses that the interface lends, in that family. */
static __always_inline __u32 sources_of(__u32 ifindex, int family)
{
	struct interface *out = bpf_map_lookup_elem(&interfaces, &ifindex);

	if (!out)
		return 0;
	return family == AF_INET ? out->snat_sources4 : out->snat_sources6;
}

/* Writes a source into the request, one of as many as there are. */
static __always_inline int take_source(int family, struct flow *request, __u32 sources)
{
	struct snat_key key = {.ifindex = request->nexthop.ifindex, .family = family};
	struct address *source;

	key.number = sources > 1 ? bpf_get_prandom_u32() % sources : 0;
	source = bpf_map_lookup_elem(&snat_sources, &key);
	if (!source)
		return -1;
	copy_words(request->to_saddr.octets, source->octets, words_of(family));
	return 0;
}

#define TRIES_OF_LATE 1024

static __always_inline void note_try(int is_taken)
{
	__u32 zero = 0;
	struct snat_ports *seen = bpf_map_lookup_elem(&snat_ports, &zero);

	if (!seen)
		return;
	if (seen->tries >= TRIES_OF_LATE) { /* what another CPU adds meanwhile may be lost: it is an estimate */
		seen->tries /= 2;
		seen->taken /= 2;
	}
	__sync_fetch_and_add(&seen->tries, 1);
	if (is_taken)
		__sync_fetch_and_add(&seen->taken, 1);
}

/* Searches that found nothing, per CPU and second: a flood of new flows to a full range must not cost a CPU. */
#define VAIN_SEARCHES 32

struct vain_searches {
	__u32 second;
	__u32 count;
};

PINNED_MAP(vain_searches, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct vain_searches);

struct port_search {
	struct pair *pair;
	enum table table;
	int family;
	__u16 port; /* where to begin */
	__u16 port_min;
	__u32 ports;
	int found;
};

/* Seconds that a flow which has not shown that both ends speak keeps its port if there is no other; UDP's others. */
#define KEEPS_PORT_UNPROVEN 3
#define KEEPS_PORT_UDP 30

/*
 * No port is free: does the flow at this CPU's pair's reply key have to give up its own? A handshake that nobody goes
 * on with must (its sender may be forged), and a UDP flow that says nothing, as when its table is full. Then it is
 * gone.
 */
VERIFIED_ONCE int displace(enum table table, int family)
{
	struct pair *pair = this_cpu_pair();
	struct flow *holder, *other;
	__u32 idle, generation;

	if (!pair)
		return 0;
	OPAQUE(pair); /* as in flow_in_the_making() */
	holder = flow_lookup(table, family, &pair->reply_key);
	if (!holder)
		return 0;
	generation = holder->generation;
	twin_key(family, &pair->reply_key, holder, &pair->twin);
	other = flow_lookup(table, family, &pair->twin);
	if (!other || other->generation != generation)
		return 0;
	idle = idle_seconds(holder, other, now_seconds());
	if (table == TABLE_HALF_OPEN) {
		if (idle <= KEEPS_PORT_UNPROVEN || (holder->state != FLOW_SYN && holder->state != FLOW_SYN_ACK))
			return 0;
	} else if (idle <= (holder->packets && other->packets ? KEEPS_PORT_UDP : KEEPS_PORT_UNPROVEN)) {
		return 0;
	}
	half_remove(table, family, &pair->reply_key, generation);
	half_remove(table, family, &pair->twin, generation);
	return 1;
}

/* Is the port that is `step` further free, or has another CPU just taken it for this very flow? Of TCP a tuple may
 * stand in either table. */
static long try_port(__u32 step, void *context)
{
	struct port_search *search = context;
	struct pair *pair = search->pair;
	int occupant;

	if (!search->ports)
		return 1;
	pair->request.to_sport = search->port_min + (search->port - search->port_min + step) % search->ports;
	reply_key_of(search->family, pair);
	occupant = clear_if_dead(search->table, search->family, 0);
	if (occupant == OCCUPANT_OTHER && displace(search->table, search->family))
		occupant = OCCUPANT_NONE;
	if (occupant == OCCUPANT_NONE && search->table == TABLE_HALF_OPEN)
		occupant = clear_if_dead(TABLE_TCP, search->family, 0);
	search->found = occupant != OCCUPANT_OTHER;
	return search->found;
}

/*
 * Puts the pair in under a source of ours. `sources`: how many the way out lends; 0: the gateway's own address.
 * 0, PAIR_EXISTS, -EEXIST (no port is free) or another negative error.
 */
static __always_inline int insert_snat(enum table table, int family, struct pair *pair, __u32 sources)
{
	struct flow *request = &pair->request;
	struct port_search search = {
		.pair = pair,
		.table = table,
		.family = family,
		.port_min = sources ? snat_port_min : GATEWAY_PORT_MIN,
		.port = request->to_sport,
	};
	struct vain_searches *vain;
	int error = -EEXIST;
	__u32 zero = 0;

	search.ports = (sources ? snat_port_max : GATEWAY_PORT_MAX) - search.port_min + 1;
	request->flags |= FLOW_SNAT;
	pair->reply.flags |= FLOW_SNAT;
	if (!sources) {
		if (family == AF_INET)
			WORD(request->to_saddr.octets, 0) = WORD(pair->request_key.v4.daddr, 0);
		else
			copy_words(request->to_saddr.octets, pair->request_key.v6.daddr, 4);
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < SNAT_PROBES && error == -EEXIST; i++) {
		int is_random = i || search.port < search.port_min ||
				(__u32)search.port - search.port_min >= search.ports;

		if (sources && take_source(family, request, sources))
			return -1;
		if (is_random)
			search.port = search.port_min + bpf_get_prandom_u32() % (search.ports ? search.ports : 1);
		request->to_sport = search.port;
		error = insert_kept(table, family, pair);
		if (sources && is_random)
			note_try(error == -EEXIST);
	}
	if (error != -EEXIST)
		return error;
	vain = bpf_map_lookup_elem(&vain_searches, &zero);
	if (!vain)
		return error;
	if (vain->second != request->seen) {
		vain->second = request->seen;
		vain->count = 0;
	}
	if (vain->count >= VAIN_SEARCHES)
		return error;
	bpf_loop(SNAT_SEARCH, try_port, &search, 0);
	if (search.found)
		return insert_kept(table, family, pair);
	vain->count++;
	return error;
}

#endif /* PENSTOCK_SNAT_H */
