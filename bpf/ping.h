/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Echo requests to gateway addresses are answered here (RFC 792, RFC 4443 section 4.2): no stack holds the address.
 *
 * Decides: which of them are answered: all but those beyond the limit of answers.
 * Rules: the packet itself becomes its answer, identifier, number and data as they were; the budget is that of
 * refusals.
 * Must never: be asked for an address that is the node's own: its stack answers.
 */
#ifndef PENSTOCK_PING_H
#define PENSTOCK_PING_H

#include "listener.h"
#include "reject.h"

static __always_inline int is_echo_request(const struct packet *p)
{
	return p->protocol == IPPROTO_ICMP ? p->icmp_type == ICMP_ECHO : p->icmp_type == ICMPV6_ECHO_REQUEST;
}

/* Swaps the ends and turns the type round; identifier, sequence number and payload stay. */
VERIFIED_ONCE int answer_echo(struct __sk_buff *skb, struct packet *p, int family)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	__u8 mac[6];
	__u16 from, to;

	if (!p)
		return DROP_INTERNAL;
	if (!may_reply(BUDGET_REFUSALS))
		return DROP_RATE_LIMITED;
	if (data + ETH_HLEN + (family == AF_INET ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) > end)
		return DROP_MALFORMED;
	__builtin_memcpy(mac, eth->h_dest, 6);
	__builtin_memcpy(eth->h_dest, eth->h_source, 6);
	__builtin_memcpy(eth->h_source, mac, 6);
	if (family == AF_INET) {
		struct iphdr *ip = data + ETH_HLEN;
		__u32 hops = fold32(difference(bpf_htons(ip->ttl << 8), bpf_htons(REPLY_TTL << 8)));

		ip->saddr = WORD(p->tuple.v4.daddr, 0);
		ip->daddr = WORD(p->tuple.v4.saddr, 0);
		ip->ttl = REPLY_TTL;
		ip->check = adjusted(ip->check, hops);
		from = bpf_htons(ICMP_ECHO << 8);
		to = bpf_htons(ICMP_ECHOREPLY << 8);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		copy_words(&ip->saddr, p->tuple.v6.daddr, 4);
		copy_words(&ip->daddr, p->tuple.v6.saddr, 4);
		from = bpf_htons(ICMPV6_ECHO_REQUEST << 8);
		to = bpf_htons(ICMPV6_ECHO_REPLY << 8);
		bpf_csum_update(skb, fold32(difference(bpf_htons(ip->hop_limit), bpf_htons(REPLY_TTL))));
		ip->hop_limit = REPLY_TTL;
	}
	if (bpf_skb_store_bytes(skb, p->l4, &to, 1, 0) ||
	    bpf_l4_csum_replace(skb, p->l4 + offsetof(struct icmphdr, checksum), from, to, 2))
		return DROP_INTERNAL;
	return VERDICT_PING;
}

#endif /* PENSTOCK_PING_H */
