/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a listener's policy says to a packet that would begin a flow.
 *
 * Rules:
 *   - Only new flows are asked: a policy that changes touches none that has begun.
 *   - The agent gives a policy that changes another id, and switches the listener when all of it is written: a packet meets
 *     the old policy or the new one, never a part of either. One that is taken away meanwhile denies without an answer.
 * Must never: be asked for a listener without a policy, or for a packet of a flow.
 */
#ifndef PENSTOCK_POLICY_H
#define PENSTOCK_POLICY_H

#include "counts.h"
#include "outcome.h"
#include "reject.h"

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

/* FLOW_GOES_ON, or the verdict. */
static __always_inline int ask_policy(struct __sk_buff *skb, struct packet *p, int family, __u32 policy_id)
{
	struct policy *policy = bpf_map_lookup_elem(&policies, &policy_id);
	__u32 flags = policy ? policy->flags : 0;
	int answer;

	if (policy && (flags & POLICY_IN_USE) && !((flags & POLICY_SOURCES) && is_denied(family, policy_id, flags))) {
		p->idle_limit = p->protocol == IPPROTO_TCP ? policy->idle_tcp : policy->idle_udp;
		if (flags & POLICY_AFFINITY)
			p->affinity = family == AF_INET ? policy->affinity4 : policy->affinity6;
		return FLOW_GOES_ON;
	}
	count_turned_away(p->listener_id, AWAY_DENIED);
	if (!(flags & POLICY_REJECT))
		return DROP_DENIED;
	answer = refuse(skb, p, family);
	return answer == VERDICT_REJECTED_RST || answer == VERDICT_REJECTED_ICMP ? VERDICT_REFUSED_DENIED : DROP_DENIED;
}

#endif /* PENSTOCK_POLICY_H */
