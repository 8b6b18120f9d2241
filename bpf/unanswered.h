/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet that would begin a flow and is dropped without an answer: the refused part of a flood.
 *
 * Decides: whether this CPU's packet is one, with the verdict that it would get at TC.
 * Rules: what a policy denies in silence is one; of what is refused aloud (RST, ICMP), that for which no answer is left
 * in this second (reply_rate.h). What could still be answered is TC's to answer: it knows how, and a flood gets no more
 * than reply_rate_limit that far. So is whatever is rare, or takes a look at the node's sockets.
 * Must never: count, or turn away, what TC would let begin.
 */
#ifndef PENSTOCK_UNANSWERED_H
#define PENSTOCK_UNANSWERED_H

#include "choose.h"
#include "in_force.h"
#include "listener.h"
#include "policy.h"
#include "reply_rate.h"

static __always_inline int turned_away(__u32 listener_id, enum turned_away why, int verdict)
{
	count_turned_away(listener_id, why);
	return verdict;
}

/* Of a first SYN, or of UDP without a flow: FLOW_LEFT_TO_TC, or the verdict of what is dropped. */
VERIFIED_ONCE int drop_unanswered(int family)
{
	struct packet *p = this_cpu_packet();
	struct listener *listener;
	struct gateway *gateway;
	__u32 listener_id, backend_id;
	enum says says = SAYS_YES;
	int is_tcp, is_spent;

	if (!p)
		return FLOW_LEFT_TO_TC;
	gateway = gateway_of(family, &p->tuple);
	is_tcp = p->protocol == IPPROTO_TCP;
	if (!gateway || ((gateway->flags & GATEWAY_NODE_ADDRESS) && !is_tcp) || flows_are_moving())
		return FLOW_LEFT_TO_TC;
	if (is_from_gateway(family, &p->tuple) || (is_tcp && flow_lookup(TABLE_HALF_OPEN, family, &p->tuple)))
		return FLOW_LEFT_TO_TC;
	is_spent = are_spent(BUDGET_REFUSALS);
	listener = listener_of(family, &p->tuple);
	if (!listener)
		return is_spent && !(gateway->flags & GATEWAY_NODE_ADDRESS) ? DROP_RATE_LIMITED : FLOW_LEFT_TO_TC;
	listener_id = listener->listener_id;
	p->listener_id = listener_id;
	p->affinity = 0;
	if (listener->policy_id)
		says = ask_policy(p, family, listener->policy_id);
	if (says == SAYS_DENIED)
		return turned_away(listener_id, AWAY_DENIED, DROP_DENIED);
	if (!is_spent)
		return FLOW_LEFT_TO_TC;
	if (says == SAYS_DENIED_ALOUD)
		return turned_away(listener_id, AWAY_DENIED, DROP_DENIED);
	if (says == SAYS_AT_LIMIT)
		return turned_away(listener_id, AWAY_LIMITED, DROP_LIMITED);
	backend_id = choose(family, &p->tuple, listener->pool_id, p->affinity);
	p->backend_id = backend_id;
	if (!is_tcp || backend_id == BACKEND_NONE)
		return FLOW_LEFT_TO_TC;
	if (backend_id == BACKEND_REJECT)
		return turned_away(listener_id, AWAY_REJECTED, DROP_RATE_LIMITED);
	if (!has_room(family))
		return turned_away(listener_id, AWAY_REFUSED, DROP_TABLE_FULL);
	return FLOW_LEFT_TO_TC;
}

#endif /* PENSTOCK_UNANSWERED_H */
