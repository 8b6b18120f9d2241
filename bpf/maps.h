/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The maps that the agent knows. Sizes are those of a default installation; the agent sets them before load.
 *
 * Decides: which tables there are, and their types.
 * Rules: types come from abi.h. Scratch space is declared where it is used; it is pinned too, for two objects share
 * their maps by name, and a tracer reads packet_scratch (parse.h).
 * Must never: define a layout: those are abi.h's.
 */
#ifndef PENSTOCK_MAPS_H
#define PENSTOCK_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

#define PINNED_MAP(NAME, TYPE, ENTRIES, KEY, VALUE)                                                                    \
	struct {                                                                                                       \
		__uint(type, TYPE);                                                                                    \
		__uint(max_entries, ENTRIES);                                                                          \
		__type(key, KEY);                                                                                      \
		__type(value, VALUE);                                                                                  \
	} NAME SEC(".maps")

/* The agent writes, the programs read. */
PINNED_MAP(in_force, BPF_MAP_TYPE_ARRAY, 1, __u32, struct in_force);
PINNED_MAP(interfaces, BPF_MAP_TYPE_HASH, 1024, __u32, struct interface);
PINNED_MAP(snat_sources, BPF_MAP_TYPE_HASH, 1024, struct snat_key, struct address);
PINNED_MAP(gateways, BPF_MAP_TYPE_HASH, 4096, struct address, struct gateway);
PINNED_MAP(listeners, BPF_MAP_TYPE_HASH, 16384, struct listener_key, struct listener);
PINNED_MAP(pools, BPF_MAP_TYPE_ARRAY, 2048, __u32, struct pool);
PINNED_MAP(backends, BPF_MAP_TYPE_ARRAY, 65536, __u32, struct backend);

PINNED_MAP(policies, BPF_MAP_TYPE_ARRAY, 1024, __u32, struct policy);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct source_range_key);
	__type(value, struct source_range);
} source_ranges SEC(".maps");

#define NETWORK_MAP(NAME, ENTRIES)                                                                                     \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);                                                                   \
		__uint(max_entries, ENTRIES);                                                                          \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                  \
		__type(key, struct network);                                                                           \
		__type(value, __u32);                                                                                  \
	} NAME SEC(".maps")

NETWORK_MAP(symmetric, 256); /* -> 1 */
NETWORK_MAP(route_mtus, 16384);

/* The programs write, the agent reads. */
PINNED_MAP(verdicts, BPF_MAP_TYPE_PERCPU_ARRAY, (HOOK_COUNT * VERDICT_COUNT), __u32, struct verdict_count);
PINNED_MAP(listener_counts, BPF_MAP_TYPE_PERCPU_ARRAY, 16384, __u32, struct listener_count);
PINNED_MAP(listener_connections, BPF_MAP_TYPE_ARRAY, 16384, __u32, struct listener_connections);
PINNED_MAP(source_connections, BPF_MAP_TYPE_ARRAY, (131072 + 16384) / 4, __u32, struct source_bucket);
PINNED_MAP(source_seed, BPF_MAP_TYPE_ARRAY, 1, __u32, struct source_seed);
PINNED_MAP(backend_counts, BPF_MAP_TYPE_PERCPU_ARRAY, 65536, __u32, struct backend_count);
PINNED_MAP(flow_usage, BPF_MAP_TYPE_ARRAY, 1, __u32, struct flow_usage);
PINNED_MAP(snat_ports, BPF_MAP_TYPE_ARRAY, 1, __u32, struct snat_ports);

/* Flows: two entries each. Established TCP is never evicted; half-open and UDP are, by least recent use. */
PINNED_MAP(tcp_flows4, BPF_MAP_TYPE_HASH, 2 * (131072 + 16384), struct tuple4, struct flow);
PINNED_MAP(tcp_flows6, BPF_MAP_TYPE_HASH, 2 * (131072 + 16384), struct tuple6, struct flow);
PINNED_MAP(half_open4, BPF_MAP_TYPE_LRU_HASH, 2 * 16384, struct tuple4, struct flow);
PINNED_MAP(half_open6, BPF_MAP_TYPE_LRU_HASH, 2 * 16384, struct tuple6, struct flow);
PINNED_MAP(udp_flows4, BPF_MAP_TYPE_LRU_HASH, 2 * 65536, struct tuple4, struct flow);
PINNED_MAP(udp_flows6, BPF_MAP_TYPE_LRU_HASH, 2 * 65536, struct tuple6, struct flow);

/* Turnstiles of ageing: request keys of established TCP and UDP flows, each once; those of removed ones until due. */
#define TURNSTILE_MAP(NAME, ENTRIES, VALUE)                                                                            \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_QUEUE);                                                                      \
		__uint(max_entries, ENTRIES);                                                                          \
		__type(value, VALUE);                                                                                  \
	} NAME SEC(".maps")

TURNSTILE_MAP(ageing_tcp4, 2 * 131072 + 16384, struct ageing4);
TURNSTILE_MAP(ageing_tcp6, 2 * 131072 + 16384, struct ageing6);
TURNSTILE_MAP(ageing_udp4, 2 * 65536 + 16384, struct ageing4);
TURNSTILE_MAP(ageing_udp6, 2 * 65536 + 16384, struct ageing6);

PINNED_MAP(ageing_in_hand, BPF_MAP_TYPE_ARRAY, 4, __u32, struct ageing_in_hand);

#endif /* PENSTOCK_MAPS_H */
