// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Ageing: flows that are idle for longer than their state allows are removed, with no agent.
 *
 * The request key of each established TCP flow, and of each UDP flow, stands in a queue (a turnstile); half-open ones
 * are pushed out by others, or count as absent when they are met too late. A bpf_timer that re-arms itself takes a
 * slice from the head: not due yet -> back to the tail, untouched; expired -> the pair is removed; else -> back with a
 * new due time.
 *
 * Decides: when a flow is looked at again. (How long it may be idle is said by flow.h.)
 * Rules: a slice is bounded. As many flows as may be admitted go round within TURN_TICKS ticks; a turnstile has room
 * for more than twice as many, since keys of removed flows stand there until they are due, and goes round in 68 (TCP)
 * or 72 ticks (UDP) when it is full, with the default sizes. TCP flows are looked at at least every RECHECK seconds and
 * a turn, since a FIN shortens their limit; UDP's table evicts by use and a look-up counts as use, so UDP flows are
 * looked at only when they may have expired. Of two sets (in_force.h) that which is in force is swept, and neither
 * while flows move from one to the other. The timer's map is pinned: it lives as long as the pin, whatever becomes of
 * this program's own file or the agent.
 * Must never: remove a flow that had a packet within its limit, or by an entry in the queue that is another flow's.
 */
#include "flow.h"
#include "in_force.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#define CLOCK_MONOTONIC 1
#define TICK_NSEC (100 * 1000 * 1000ULL)
#define TURN_TICKS 32
#define RECHECK 20
#define RECHECK_NEW 5 /* after the first look: a port that comes again and again leaves an entry each time */

struct ageing {
	struct bpf_timer timer;
	__u32 tick;
	__u32 pad;
};

PINNED_MAP(ageing, BPF_MAP_TYPE_ARRAY, 1, __u32, struct ageing);

struct slice {
	__u32 now;
	__u32 tick;
	__u32 looked_at;
	__u32 expired;
};

/* Seconds until the flow may have expired; 0: it has, and was removed, or it is gone anyway. */
static __always_inline __u32 look_at(enum table table, int family, const union tuple *key, __u32 generation, __u32 now,
				     struct slice *slice)
{
	struct flow *f = flow_lookup(table, family, key);
	union tuple twin_at;
	struct flow *twin;
	__u32 idle, limit;

	slice->looked_at++;
	if (!f || f->generation != generation)
		return 0;
	twin_key(family, key, f, &twin_at);
	twin = flow_lookup(table, family, &twin_at);
	limit = idle_limit(family, f, twin);
	if (twin && twin->generation == generation)
		idle = idle_seconds(f, twin, now);
	else /* UDP: one half evicted; the other restores it, if it lives */
		idle = idle_seconds(f, f, now);
	if (idle <= limit) {
		limit = limit - idle + 1;
		return table == TABLE_TCP && limit > RECHECK ? RECHECK : limit;
	}
	pair_remove(table, family, key, &twin_at, generation);
	slice->expired++;
	return 0;
}

#define TURNSTILE(NAME, NUMBER, QUEUE, ENTRY, KEY, TABLE, FAMILY)                                                      \
	static long NAME(__u32 i, void *context)                                                                       \
	{                                                                                                              \
		__u32 number = NUMBER, wait;                                                                           \
		struct ageing_in_hand *hand = bpf_map_lookup_elem(&ageing_in_hand, &number);                           \
		struct slice *slice = context;                                                                         \
		struct ENTRY entry = {};                                                                               \
		union tuple key;                                                                                       \
		int done;                                                                                              \
                                                                                                                       \
		if (!hand)                                                                                             \
			return 1;                                                                                      \
		if (hand->is_there)                                                                                    \
			entry = hand->KEY;                                                                             \
		else if (bpf_map_pop_elem(&QUEUE, &entry))                                                             \
			return 1;                                                                                      \
		hand->is_there = 0;                                                                                    \
		done = entry.tick == slice->tick; /* once round */                                                     \
		if (!done) {                                                                                           \
			entry.tick = slice->tick;                                                                      \
			if ((__s32)(entry.due - slice->now) <= 0) {                                                    \
				key.KEY = entry.key;                                                                   \
				wait = look_at(TABLE, FAMILY, &key, entry.generation, slice->now, slice);              \
				if (!wait)                                                                             \
					return 0;                                                                      \
				if (TABLE == TABLE_TCP && !entry.due)                                                  \
					wait = wait > RECHECK_NEW ? RECHECK_NEW : wait;                                \
				entry.due = slice->now + wait;                                                         \
			}                                                                                              \
		}                                                                                                      \
		if (bpf_map_push_elem(&QUEUE, &entry, 0)) {                                                            \
			hand->KEY = entry;                                                                             \
			hand->is_there = 1;                                                                            \
		}                                                                                                      \
		return done;                                                                                           \
	}

TURNSTILE(turn_tcp4, 0, ageing_tcp4, ageing4, v4, TABLE_TCP, AF_INET)
TURNSTILE(turn_tcp6, 1, ageing_tcp6, ageing6, v6, TABLE_TCP, AF_INET6)
TURNSTILE(turn_udp4, 2, ageing_udp4, ageing4, v4, TABLE_UDP, AF_INET)
TURNSTILE(turn_udp6, 3, ageing_udp6, ageing6, v6, TABLE_UDP, AF_INET6)

static int sweep(void *map, __u32 *index, struct ageing *ageing)
{
	struct slice slice = {.now = now_seconds()};
	__u32 tcp = tcp_flows_max / TURN_TICKS + 1, udp = udp_flows_max / TURN_TICKS + 1;
	struct flow_usage *usage;

	if (!is_in_force() || flows_are_moving())
		goto again;
	slice.tick = ++ageing->tick;
	bpf_loop(tcp, turn_tcp4, &slice, 0);
	bpf_loop(tcp, turn_tcp6, &slice, 0);
	bpf_loop(udp, turn_udp4, &slice, 0);
	bpf_loop(udp, turn_udp6, &slice, 0);
	usage = usage_of_flows();
	if (usage) {
		usage->swept += slice.looked_at;
		usage->expired += slice.expired;
		usage->last_sweep = bpf_ktime_get_ns();
	}
again:
	bpf_timer_start(&ageing->timer, TICK_NSEC, 0);
	return 0;
}

/* Run once by the agent after load; a timer that runs already gets this program's callback instead of the old one. */
SEC("tc")
int start_ageing(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct ageing *a = bpf_map_lookup_elem(&ageing, &zero);

	if (!a)
		return 1;
	bpf_timer_init(&a->timer, &ageing, CLOCK_MONOTONIC); /* -EBUSY: it is there already */
	if (bpf_timer_set_callback(&a->timer, sweep))
		return 2;
	if (bpf_timer_start(&a->timer, TICK_NSEC, 0))
		return 3;
	return 0;
}
