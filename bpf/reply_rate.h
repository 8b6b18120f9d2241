/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How many answers of our own we send.
 *
 * Decides: whether there may be one more.
 * Rules: so many per CPU and second. Refusals and echo replies share one limit; "too big" has one of its own, as large.
 * Must never: give an answer away: who asks may_reply() sends it.
 */
#ifndef PENSTOCK_REPLY_RATE_H
#define PENSTOCK_REPLY_RATE_H

#include "clock.h"
#include "maps.h"
#include "settings.h"

/* What each CPU has sent this second. Path MTU discovery has a budget of its own, which a flood cannot use up. */
enum reply_budget {
	BUDGET_REFUSALS,
	BUDGET_TOO_BIG,
	BUDGETS,
};

struct reply_rate {
	__u32 second;
	__u32 sent[BUDGETS];
};

PINNED_MAP(reply_rates, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct reply_rate);

static __always_inline int may_reply(enum reply_budget budget)
{
	__u32 zero = 0, now = now_seconds();
	struct reply_rate *rate = bpf_map_lookup_elem(&reply_rates, &zero);

	if (!rate)
		return 0;
	if (rate->second != now) {
		rate->second = now;
		rate->sent[BUDGET_REFUSALS] = 0;
		rate->sent[BUDGET_TOO_BIG] = 0;
	}
	return rate->sent[budget]++ < reply_rate_limit;
}

/* Would may_reply() say no, for the rest of this second? */
static __always_inline int are_spent(enum reply_budget budget)
{
	__u32 zero = 0;
	struct reply_rate *rate = bpf_map_lookup_elem(&reply_rates, &zero);

	return rate && (rate->second == now_seconds() ? rate->sent[budget] : 0) >= reply_rate_limit;
}

#endif /* PENSTOCK_REPLY_RATE_H */
