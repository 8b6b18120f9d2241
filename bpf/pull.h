/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Headers outside the linear part of an sk_buff.
 *
 * Decides: how much is made linear.
 * Rules: once for each packet. Lengths come from skb->len, not from tot_len (0 in BIG TCP).
 * Must never: copy a payload.
 */
#ifndef PENSTOCK_PULL_H
#define PENSTOCK_PULL_H

#include "parse.h"

/* Brings the headers into the linear part; the packet must be parsed anew after it. */
static __always_inline int pull_headers(struct __sk_buff *skb)
{
	__u32 length = skb->len;

	if (length > MAX_PULL)
		length = MAX_PULL;
	if ((void *)(long)skb->data + length <= (void *)(long)skb->data_end)
		return -1; /* all there is was there: the packet is short */
	return bpf_skb_pull_data(skb, length);
}

#endif /* PENSTOCK_PULL_H */
