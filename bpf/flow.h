/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The pair protocol: a flow is two entries, one per direction, that live and die together.
 *
 * Decides: when two entries are one flow, and for how long it lives.
 * Rules:
 *   - Insert the reply entry first, then the request entry, both NOEXIST; if the second fails the first is taken back.
 *     There is no two-key transaction in BPF: whoever meets half a pair treats it as absent.
 *   - Both halves carry one random generation. Removing writes generation 0 into a half before deleting it: elements
 *     are reused at once, so a reader copies what it needs and then checks key_check and generation again.
 *   - The twin's key is the reverse of what the entry rewrites to. It is derived, never stored.
 *   - What is written into an entry that was checked before is not checked again (state, seen, expects, counts;
 *     release() of a twin): it hits another flow if the entry was taken out and given to that in between, some ten
 *     instructions, while another CPU needs a packet for each. So it takes a CPU that is stopped there (a hypervisor,
 *     an interrupt). Then a flow that has just been promoted may be in another one's state, so forgotten early, or not
 *     be counted by its policy's limits; no count can go wrong for longer than it lives, for whoever takes it off has
 *     to find it (release()).
 * Must never: leave a reply entry without its request entry on purpose; change `to_*` of a live entry.
 */
#ifndef PENSTOCK_FLOW_H
#define PENSTOCK_FLOW_H

#include "clock.h"
#include "maps.h"
#include "parse.h"
#include "settings.h"
#include "source.h"

/* A half this young may have been put in by another CPU that is about to put in the other one, or to take it out. */
#define YOUNG_SECONDS 2

/* Which of the three tables of a family. */
enum table {
	TABLE_TCP,
	TABLE_HALF_OPEN,
	TABLE_UDP,
};

static __always_inline void *flow_lookup(enum table table, int family, const union tuple *key)
{
	if (family == AF_INET) {
		if (table == TABLE_TCP)
			return bpf_map_lookup_elem(&tcp_flows4, key);
		if (table == TABLE_HALF_OPEN)
			return bpf_map_lookup_elem(&half_open4, key);
		return bpf_map_lookup_elem(&udp_flows4, key);
	}
	if (table == TABLE_TCP)
		return bpf_map_lookup_elem(&tcp_flows6, key);
	if (table == TABLE_HALF_OPEN)
		return bpf_map_lookup_elem(&half_open6, key);
	return bpf_map_lookup_elem(&udp_flows6, key);
}

static __always_inline long flow_insert(enum table table, int family, const union tuple *key, const struct flow *f)
{
	if (family == AF_INET) {
		if (table == TABLE_TCP)
			return bpf_map_update_elem(&tcp_flows4, key, f, BPF_NOEXIST);
		if (table == TABLE_HALF_OPEN)
			return bpf_map_update_elem(&half_open4, key, f, BPF_NOEXIST);
		return bpf_map_update_elem(&udp_flows4, key, f, BPF_NOEXIST);
	}
	if (table == TABLE_TCP)
		return bpf_map_update_elem(&tcp_flows6, key, f, BPF_NOEXIST);
	if (table == TABLE_HALF_OPEN)
		return bpf_map_update_elem(&half_open6, key, f, BPF_NOEXIST);
	return bpf_map_update_elem(&udp_flows6, key, f, BPF_NOEXIST);
}

static __always_inline long flow_delete(enum table table, int family, const union tuple *key)
{
	if (family == AF_INET) {
		if (table == TABLE_TCP)
			return bpf_map_delete_elem(&tcp_flows4, key);
		if (table == TABLE_HALF_OPEN)
			return bpf_map_delete_elem(&half_open4, key);
		return bpf_map_delete_elem(&udp_flows4, key);
	}
	if (table == TABLE_TCP)
		return bpf_map_delete_elem(&tcp_flows6, key);
	if (table == TABLE_HALF_OPEN)
		return bpf_map_delete_elem(&half_open6, key);
	return bpf_map_delete_elem(&udp_flows6, key);
}

/*
 * May a packet of this direction be at this hook? From outside come requests, and replies of backends that are out
 * there themselves: nobody speaks for a pod. Out of the node and out of a pod go replies:
 * a request there is on its way to somebody else who has the address.
 */
static __always_inline int belongs_at(enum hook hook, const struct flow *f)
{
	int is_reply = f->flags & FLOW_REPLY;

	switch (hook) {
	case HOOK_UPLINK_INGRESS:
		return !is_reply || (f->flags & FLOW_REMOTE);
	case HOOK_UPLINK_EGRESS:
	case HOOK_POD_INGRESS:
		return is_reply;
	default:
		return 1;
	}
}

static __always_inline int words_of(int family)
{
	return family == AF_INET ? 1 : 4;
}

static __always_inline __u32 key_check4(const struct tuple4 *t)
{
	return (WORD(t->saddr, 0) * 31 + WORD(t->daddr, 0)) * 31 + WORD(&t->sport, 0) + t->protocol;
}

static __always_inline __u32 key_check6(const struct tuple6 *t)
{
	__u32 mixed = 0;

	for (int i = 0; i < 8; i++)
		mixed = mixed * 31 + WORD(t->saddr, i);
	return mixed * 31 + WORD(&t->sport, 0) + t->protocol;
}

static __always_inline __u32 key_check(int family, const union tuple *key)
{
	return family == AF_INET ? key_check4(&key->v4) : key_check6(&key->v6);
}

/* The entry at `key`, wherever it stands by now: another CPU may have promoted it meanwhile. Not one on its way out. */
static __always_inline struct flow *known_flow(int family, __u8 protocol, const union tuple *key)
{
	struct flow *f;

	if (protocol == IPPROTO_UDP) {
		f = flow_lookup(TABLE_UDP, family, key);
	} else {
		f = flow_lookup(TABLE_TCP, family, key); /* first: promotion inserts there before it removes here */
		if (!f || !f->generation)
			f = flow_lookup(TABLE_HALF_OPEN, family, key);
	}
	return f && f->generation ? f : 0;
}

/* Was the entry, when it was read, or is it meanwhile, that of another flow than `key`'s of that generation? */
static __always_inline int is_another(int family, const struct flow *f, const union tuple *key, __u32 generation)
{
	return f->key_check != key_check(family, key) || !generation || *(volatile __u32 *)&f->generation != generation;
}

/* The key of the twin: the reverse of what `f` rewrites to. */
static __always_inline void twin_key(int family, const union tuple *key, const struct flow *f, union tuple *twin)
{
	if (family == AF_INET) {
		WORD(twin->v4.saddr, 0) = WORD(f->to_daddr.octets, 0);
		WORD(twin->v4.daddr, 0) = WORD(f->to_saddr.octets, 0);
		WORD(&twin->v4.protocol, 0) = WORD(&key->v4.protocol, 0);
		twin->v4.sport = f->to_dport;
		twin->v4.dport = f->to_sport;
		return;
	}
	copy_words(twin->v6.saddr, f->to_daddr.octets, 4);
	copy_words(twin->v6.daddr, f->to_saddr.octets, 4);
	WORD(&twin->v6.protocol, 0) = WORD(&key->v6.protocol, 0);
	twin->v6.sport = f->to_dport;
	twin->v6.dport = f->to_sport;
}

/* Rewrites of the entry whose packets are the reverse of `key`'s rewritten ones: back to the reverse of `key`. */
static __always_inline void rewrite_to_reverse_of(int family, const union tuple *key, struct flow *f)
{
	__builtin_memset(&f->to_saddr, 0, sizeof(f->to_saddr));
	__builtin_memset(&f->to_daddr, 0, sizeof(f->to_daddr));
	if (family == AF_INET) {
		WORD(f->to_saddr.octets, 0) = WORD(key->v4.daddr, 0);
		WORD(f->to_daddr.octets, 0) = WORD(key->v4.saddr, 0);
		f->to_sport = key->v4.dport;
		f->to_dport = key->v4.sport;
		return;
	}
	copy_words(f->to_saddr.octets, key->v6.daddr, 4);
	copy_words(f->to_daddr.octets, key->v6.saddr, 4);
	f->to_sport = key->v6.dport;
	f->to_dport = key->v6.sport;
}

static __always_inline struct flow_usage *usage_of_flows(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&flow_usage, &zero);
}

/* For one more TCP flow. */
static __always_inline int has_room(int family)
{
	struct flow_usage *usage = usage_of_flows();

	return usage && (family == AF_INET ? usage->tcp4 : usage->tcp6) < tcp_flows_max;
}

#define UNANSWERED_UDP 30
#define UNANSWERED_SYN 10

/* Seconds for a last segment to be sent again. */
#define LAST_SEGMENT 10

static __always_inline __u32 at_most(__u32 limit, __u32 most)
{
	return limit < most ? limit : most;
}

/* How full the table of TCP's flows is, in eighths of what may be admitted. */
static __always_inline __u32 fill_in_eighths(int family)
{
	struct flow_usage *usage = usage_of_flows();
	__s64 live;

	if (!usage)
		return 0;
	live = family == AF_INET ? usage->tcp4 : usage->tcp6;
	if (live > tcp_flows_max / 8 * 7)
		return 7;
	if (live > tcp_flows_max / 4 * 3)
		return 6;
	return live > tcp_flows_max / 2 ? 4 : 0;
}

/*
 * How long a finished flow rests. It stands there for late segments only, so it makes room as the table fills: else
 * connections that last no time at all would fill it at tcp_flows_max / limit_closed a second. Where the port is ours
 * (SNAT) and the backend closed first, or both at once, it holds TIME_WAIT on that port: there it rests in full; if the
 * client did, the port is soon free again.
 */
static __always_inline __u32 limit_when_finished(int family, const struct flow *f, const struct flow *other,
						 __u32 limit)
{
	__u32 fill = fill_in_eighths(family);

	if (f->flags & FLOW_SNAT) {
		if ((f->flags | (other ? other->flags : 0)) & FLOW_BACKEND_FIRST)
			return limit;
		limit = at_most(limit, LAST_SEGMENT);
	}
	if (fill >= 6)
		return at_most(limit, 2);
	return fill >= 4 ? at_most(limit, LAST_SEGMENT) : limit;
}

/* An established flow that says nothing makes room only when others would soon be refused for it. */
static __always_inline __u32 limit_when_established(int family, __u32 limit)
{
	__u32 fill = fill_in_eighths(family);

	if (fill >= 7)
		return at_most(limit, limit_nearly_full);
	return fill >= 6 ? at_most(limit, limit_filling) : limit;
}

/*
 * `other`: the other half, if it is there. What was never answered is worth less: a UDP flow of which one half has
 * had no packet (Linux' nf_conntrack_udp_timeout), a SYN alone (sent again it begins anew).
 */
static __always_inline __u32 idle_limit(int family, const struct flow *f, const struct flow *other)
{
	__u32 own = f->idle_limit, udp = own ? own : limit_udp;

	switch (f->state) {
	case FLOW_CLOSING: /* its other end may be gone for good: then nobody ever answers the FIN */
		return limit_when_established(family, at_most(own ? own : limit_tcp_established, limit_closing));
	case FLOW_ESTABLISHED:
		return limit_when_established(family, own ? own : limit_tcp_established);
	case FLOW_CLOSED:
		return limit_when_finished(family, f, other, limit_closed);
	case FLOW_RESET:
		return limit_when_finished(family, f, other, limit_reset);
	case FLOW_UDP:
		return other && (!f->packets || !other->packets) ? at_most(udp, UNANSWERED_UDP) : udp;
	case FLOW_SYN:
		return at_most(limit_half_open, UNANSWERED_SYN);
	default:
		return limit_half_open;
	}
}

/* Seconds since the later of the two halves' last packets. */
static __always_inline __u32 idle_seconds(const struct flow *a, const struct flow *b, __u32 now)
{
	__u32 seen = a->seen;

	if ((__s32)(b->seen - seen) > 0)
		seen = b->seen;
	return seconds_since(seen, now);
}

/*
 * The other half, if the two are a live pair.
 * `twin` is scratch for the key. Returns NULL when the pair is broken or has outlived its idle limit.
 */
static __always_inline struct flow *live_twin(enum table table, int family, const union tuple *key,
					      const struct flow *f, union tuple *twin)
{
	struct flow *other;

	if (!f->generation || f->key_check != key_check(family, key))
		return 0;
	twin_key(family, key, f, twin);
	other = flow_lookup(table, family, twin);
	if (!other || other->generation != f->generation)
		return 0;
	if (idle_seconds(f, other, now_seconds()) > idle_limit(family, f, other))
		return 0;
	return other;
}

static __always_inline void count_live(int family, __s64 change)
{
	struct flow_usage *usage = usage_of_flows();

	if (!usage)
		return;
	if (family == AF_INET)
		__sync_fetch_and_add(&usage->tcp4, change);
	else
		__sync_fetch_and_add(&usage->tcp6, change);
}

/*
 * A connection that is no longer open: it is not one of its listener's and its source's from now on. Whoever takes
 * `counted_at` (`source_place`) away takes the connection off, so it happens once, however often and on however many
 * CPUs this is called.
 */
static __always_inline void release(struct flow *request)
{
	struct listener_connections *held;
	__u32 listener_id, place;

	if (request->source_place) {
		place = __sync_lock_test_and_set(&request->source_place, 0);
		if (place)
			release_source(place);
	}
	if (!request->counted_at)
		return;
	listener_id = __sync_lock_test_and_set(&request->counted_at, 0);
	held = bpf_map_lookup_elem(&listener_connections, &listener_id);
	if (listener_id && held)
		__sync_fetch_and_add(&held->open, -1);
}

/* Takes one half out, if it is of that generation; only the request half counts as the flow. */
static __always_inline void half_remove(enum table table, int family, const union tuple *key, __u32 generation)
{
	struct flow *half = flow_lookup(table, family, key);
	__u32 since, now = now_seconds();
	int is_request;

	if (!half || half->generation != generation)
		return;
	is_request = !(half->flags & FLOW_REPLY);
	/*
	 * Only one of all who want it takes it out: the others' look at it may be so old that it is another flow by
	 * now, and that one's count would be released. While it is young, nobody else does, so it stays what it is
	 * until it is out. Generation 0 that is not young was left behind: on 6.1 a delete fails (-EBUSY) that has
	 * interrupted a system call at the lock of its bucket.
	 */
	since = half->seen;
	if (!generation) {
		if (seconds_since(since, now) < YOUNG_SECONDS ||
		    __sync_val_compare_and_swap(&half->seen, since, now) != since)
			return;
	} else {
		half->seen = now;
		if (__sync_val_compare_and_swap(&half->generation, generation, 0) != generation)
			return;
	}
	if (table == TABLE_TCP && is_request)
		release(half);
	if (!flow_delete(table, family, key) && table == TABLE_TCP && is_request)
		count_live(family, -1);
}

/* Takes both halves out, whichever of the two keys is `key`. A packet in between finds half a pair: absent. */
static __noinline int pair_remove(enum table table, int family, const union tuple *key, const union tuple *twin,
				  __u32 generation)
{
	half_remove(table, family, key, generation);
	half_remove(table, family, twin, generation);
	return 0;
}

#endif /* PENSTOCK_FLOW_H */
