/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a listener makes of a packet that would begin a flow.
 *
 * Decides: whether it gets a backend, and what becomes of it if not.
 * Rules: asked in this order: may flows begin at all, the policy, the backend's share, the room. Whoever is turned away
 * is counted at the listener, and answered if that is worth it and the rate allows.
 * Must never: begin the flow (admit.h).
 */
#ifndef PENSTOCK_OFFER_H
#define PENSTOCK_OFFER_H

#include "admit.h"
#include "in_force.h"
#include "policy.h"

static __always_inline int turn_away(struct __sk_buff *skb, struct packet *p, int family, enum says says)
{
	int answer;

	count_turned_away(p->listener_id, says == SAYS_AT_LIMIT ? AWAY_LIMITED : AWAY_DENIED);
	if (says == SAYS_DENIED)
		return DROP_DENIED;
	answer = refuse(skb, p, family);
	if (says == SAYS_AT_LIMIT)
		return answer == VERDICT_REJECTED_RST ? VERDICT_REFUSED_LIMITED : DROP_LIMITED;
	return answer == VERDICT_REJECTED_RST || answer == VERDICT_REJECTED_ICMP ? VERDICT_REFUSED_DENIED : DROP_DENIED;
}

/* What a listener makes of a new flow: FLOW_GOES_ON with a backend chosen, or the verdict. */
static __always_inline int offer(struct __sk_buff *skb, struct packet *p, int family, const struct listener *listener)
{
	if (p->protocol == IPPROTO_TCP && (p->tcp_flags & TCP_RST))
		return DROP_NO_FLOW;
	if (flows_are_moving())
		return DROP_MOVING;
	p->listener_id = listener->listener_id;
	p->backend_id = BACKEND_NONE;
	p->idle_limit = 0;
	p->affinity = 0;
	if (listener->policy_id) {
		enum says says = ask_policy(p, family, listener->policy_id);

		if (says != SAYS_YES)
			return turn_away(skb, p, family, says);
	}
	p->backend_id = choose(family, &p->tuple, listener->pool_id, p->affinity);
	if (p->backend_id == BACKEND_NONE)
		return DROP_NO_BACKEND;
	if (p->backend_id == BACKEND_REJECT) {
		count_turned_away(p->listener_id, AWAY_REJECTED);
		return p->protocol == IPPROTO_TCP ? refuse(skb, p, family) : DROP_REJECT_SHARE;
	}
	if (p->protocol == IPPROTO_TCP && !has_room(family)) {
		count_turned_away(p->listener_id, AWAY_REFUSED);
		return refuse(skb, p, family) == VERDICT_REJECTED_RST ? VERDICT_REFUSED_TABLE_FULL : DROP_TABLE_FULL;
	}
	return FLOW_GOES_ON;
}

#endif /* PENSTOCK_OFFER_H */
