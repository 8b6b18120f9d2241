/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a listener's policy says to a packet that would begin a flow.
 *
 * Decides: whether a flow may begin, by its source and by how many connections its listener, and its source there,
 * have open; how long it may be idle; and by how many bits of its source it gets its backend (affinity).
 * Rules:
 *   - Only new flows are asked (for the number of connections once more when the handshake ends): a policy that
 *     changes touches none that has begun.
 *   - The agent gives a policy that changes another id, and switches the listener when all of it is written: a packet
 *     meets the old policy or the new one, never a part of either. Of a policy that is taken away between the look-up
 *     of the listener and its own, a packet that would begin a flow is denied without an answer; a handshake that ends
 *     there is let in, uncounted.
 *   - A connection counts from the end of its handshake until both ends have said FIN, or its pair is removed
 *     (flow.h). A handshake is not counted: whoever floods with SYNs takes nobody's place. Of one too many when it
 *     ends, its segments reset the backend and the client in turn, until one of them gives up.
 * Must never: be asked for a packet of an established flow.
 */
#ifndef PENSTOCK_POLICY_H
#define PENSTOCK_POLICY_H

#include "counts.h"
#include "flow.h"
#include "listener.h"
#include "outcome.h"
#include "source_mark.h"

/* Is this CPU's packet from a source that the policy denies? */
VERIFIED_ONCE int is_denied(int family, __u32 policy_id, __u32 flags)
{
	struct source_range_key key __attribute__((aligned(8))) = {.policy_id = policy_id, .family = family};
	struct packet *p = this_cpu_packet();
	struct source_range *range;

	if (!p)
		return 1;
	if (family == AF_INET) {
		key.prefix = 64 + 32;
		WORD(key.address.octets, 0) = WORD(p->tuple.v4.saddr, 0);
	} else {
		key.prefix = 64 + 128;
		copy_words(key.address.octets, p->tuple.v6.saddr, 4);
	}
	range = bpf_map_lookup_elem(&source_ranges, &key);
	return range ? range->rule == SOURCE_DENIED : (flags & POLICY_ALLOW_ONLY) != 0;
}

/* Connections that the listener has open; only those that began under a policy with a limit are counted. */
static __always_inline __s64 *open_connections(__u32 listener_id)
{
	struct listener_connections *held = bpf_map_lookup_elem(&listener_connections, &listener_id);

	return held ? &held->open : 0;
}

static __always_inline __u32 source_prefix(int family, const struct policy *policy)
{
	return family == AF_INET ? policy->source4 : policy->source6;
}

/* Has the listener, or the source of this CPU's packet there, as many connections as it may? */
static __always_inline int is_at_limit(int family, const struct packet *p, const struct policy *policy)
{
	__s64 *open;

	if (p->protocol != IPPROTO_TCP)
		return 0;
	open = policy->per_listener ? open_connections(p->listener_id) : 0;
	if (open && *open >= policy->per_listener)
		return 1;
	return policy->per_source &&
	       connections_of(source_mark(family, p->listener_id, source_prefix(family, policy))) >= policy->per_source;
}

#define ADDING_TRIES 16

/*
 * One more, if they are fewer than `most`, else FLOW_EXCEEDS; FLOW_IS_ABSENT: so many CPUs were quicker that we gave
 * up. Never one too many for a moment, for another CPU's flow would be refused for it.
 */
static __always_inline int add_one(__s64 *open, __u32 most)
{
	for (int i = 0; i < ADDING_TRIES; i++) {
		__s64 before = *(volatile __s64 *)open;

		if (before >= most)
			return FLOW_EXCEEDS;
		if (__sync_val_compare_and_swap(open, before, before + 1) == before)
			return 0;
	}
	return FLOW_IS_ABSENT;
}

static __always_inline int take_at_listener(__u32 listener_id, __u32 limit, struct flow *request)
{
	__s64 *open = open_connections(listener_id);
	int error = open ? add_one(open, limit) : 0;

	if (open && !error)
		request->counted_at = listener_id;
	return error;
}

static __always_inline int take_at_source(int family, __u32 listener_id, const struct policy *policy,
					  struct flow *request)
{
	int place = count_at_source(source_mark(family, listener_id, source_prefix(family, policy)),
				    policy->per_source);

	if (place < 0)
		return place == SOURCE_EXCEEDS ? FLOW_EXCEEDS : FLOW_IS_ABSENT;
	if (place == SOURCE_UNCOUNTED)
		count_uncounted(listener_id);
	request->source_place = place;
	return 0;
}

/*
 * The handshake of `request`, this CPU's packet's, is complete: one connection more, if its listener, and its source
 * there, may have it. Asked again although the SYN was: many handshakes may end at once, and nothing else counts
 * them. 0, or as of add_one().
 */
static __always_inline int take_connection(int family, struct packet *p, struct flow *request)
{
	struct listener *listener = listener_of(family, &p->tuple);
	struct policy *policy;
	__u32 policy_id, listener_id;
	int error = 0;

	if (!listener || !listener->policy_id)
		return 0;
	policy_id = listener->policy_id;
	listener_id = listener->listener_id;
	policy = bpf_map_lookup_elem(&policies, &policy_id);
	if (!policy)
		return 0;
	if (policy->per_source) /* first: who has too many takes no place of the listener's, not for a moment */
		error = take_at_source(family, listener_id, policy, request);
	if (!error && policy->per_listener)
		error = take_at_listener(listener_id, policy->per_listener, request);
	if (error)
		release(request);
	if (error == FLOW_EXCEEDS)
		count_turned_away(listener_id, AWAY_LIMITED);
	return error;
}

/* What a policy says to a packet that would begin a flow. */
enum says {
	SAYS_YES,
	SAYS_DENIED,	   /* ... and nothing more */
	SAYS_DENIED_ALOUD, /* ... and its sender is told */
	SAYS_AT_LIMIT,
};

/* Whoever turns the packet away counts it (count_turned_away). */
static __always_inline enum says ask_policy(struct packet *p, int family, __u32 policy_id)
{
	struct policy *policy = bpf_map_lookup_elem(&policies, &policy_id);
	__u32 flags = policy ? policy->flags : 0;

	if (!policy || !(flags & POLICY_IN_USE) || ((flags & POLICY_SOURCES) && is_denied(family, policy_id, flags)))
		return flags & POLICY_REJECT ? SAYS_DENIED_ALOUD : SAYS_DENIED;
	if (is_at_limit(family, p, policy))
		return SAYS_AT_LIMIT;
	p->idle_limit = p->protocol == IPPROTO_TCP ? policy->idle_tcp : policy->idle_udp;
	if (flags & POLICY_AFFINITY)
		p->affinity = family == AF_INET ? policy->affinity4 : policy->affinity6;
	return SAYS_YES;
}

#endif /* PENSTOCK_POLICY_H */
