/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ARP (RFC 826) and neighbour discovery (RFC 4861) for gateway addresses: no interface holds them, so we answer.
 *
 * Decides: which questions are answered.
 * Rules: only on uplinks, only for addresses that are not the node's own (the kernel answers for those). The request
 * is turned into its answer and sent back. A duplicate address probe (from ::) is answered to all nodes. What RFC 4861
 * section 7.1.1 forbids to believe (hop limit below 255: from beyond a router; another code) is left to the kernel.
 * Must never: answer for an address that somebody else has.
 */
#ifndef PENSTOCK_NEIGHBOUR_H
#define PENSTOCK_NEIGHBOUR_H

#include "listener.h"
#include "reject.h"

#define NEIGHBOUR_SOLICITATION 135
#define NEIGHBOUR_ADVERTISEMENT 136
#define NA_SOLICITED 0x40
#define NA_OVERRIDE 0x20
#define OPTION_TARGET_LINK_ADDRESS 2
#define NDP_HOP_LIMIT 255

struct arp {
	__u8 pad[2];
	struct ethhdr eth;
	struct arphdr header;
	__u8 sender_mac[6];
	__u8 sender_ip[4];
	__u8 target_mac[6];
	__u8 target_ip[4];
} __attribute__((packed));

struct advertisement {
	__u8 pad[2];
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct icmp6hdr icmp;
	struct in6_addr target;
	__u8 option;
	__u8 option_words; /* in 8 bytes */
	__u8 mac[6];
};

static __always_inline int is_answered_for(const struct address *address)
{
	struct gateway *gateway = bpf_map_lookup_elem(&gateways, address);

	return gateway && !(gateway->flags & GATEWAY_NODE_ADDRESS);
}

static __always_inline struct interface *own_interface(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;

	return bpf_map_lookup_elem(&interfaces, &ifindex);
}

VERIFIED_ONCE int answer_arp(struct __sk_buff *skb)
{
	struct address address __attribute__((aligned(8))) = {};
	struct interface *own = own_interface(skb);
	struct arp arp = {};
	__u8 asked[4];

	if (!own || bpf_skb_load_bytes(skb, 0, FRAME(&arp), FRAME_SIZE(&arp)))
		return VERDICT_NOT_OURS;
	if (arp.header.ar_hrd != bpf_htons(ARPHRD_ETHER) || arp.header.ar_pro != bpf_htons(ETH_P_IP) ||
	    arp.header.ar_hln != 6 || arp.header.ar_pln != 4 || arp.header.ar_op != bpf_htons(ARPOP_REQUEST))
		return VERDICT_NOT_OURS;
	__builtin_memcpy(address.octets, arp.target_ip, 4);
	if (!is_answered_for(&address))
		return VERDICT_NOT_OURS;
	__builtin_memcpy(asked, arp.target_ip, 4);
	arp.header.ar_op = bpf_htons(ARPOP_REPLY);
	__builtin_memcpy(arp.target_mac, arp.sender_mac, 6);
	__builtin_memcpy(arp.target_ip, arp.sender_ip, 4);
	__builtin_memcpy(arp.sender_mac, own->mac, 6);
	__builtin_memcpy(arp.sender_ip, asked, 4);
	__builtin_memcpy(arp.eth.h_dest, arp.eth.h_source, 6);
	__builtin_memcpy(arp.eth.h_source, own->mac, 6);
	if (store_frame(skb, FRAME(&arp), FRAME_SIZE(&arp)))
		return DROP_INTERNAL;
	return VERDICT_NEIGHBOUR;
}

VERIFIED_ONCE int answer_solicitation(struct __sk_buff *skb, struct packet *p)
{
	struct address target __attribute__((aligned(8)));
	struct interface *own = own_interface(skb);
	struct advertisement na = {};
	struct ethhdr eth;
	__u8 hop_limit, code;
	int probe;

	if (!p)
		return DROP_INTERNAL;
	probe = !(WORD(p->tuple.v6.saddr, 0) | WORD(p->tuple.v6.saddr, 1) | WORD(p->tuple.v6.saddr, 2) |
		  WORD(p->tuple.v6.saddr, 3));

	if (!own || bpf_skb_load_bytes(skb, p->l4 + sizeof(struct icmp6hdr), &target, sizeof(target)) ||
	    bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return VERDICT_NOT_OURS;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, hop_limit), &hop_limit, 1) ||
	    bpf_skb_load_bytes(skb, p->l4 + offsetof(struct icmp6hdr, icmp6_code), &code, 1))
		return VERDICT_NOT_OURS;
	if (hop_limit != NDP_HOP_LIMIT || code || !is_answered_for(&target))
		return VERDICT_NOT_OURS;
	answer_eth(&na.eth, &eth);
	__builtin_memcpy(na.eth.h_source, own->mac, 6);
	answer_ip6(&na.ip, &p->tuple, IPPROTO_ICMPV6, sizeof(na) - offsetof(struct advertisement, icmp));
	na.ip.hop_limit = NDP_HOP_LIMIT;
	copy_words(&na.ip.saddr, &target, 4);
	if (probe) { /* to ff02::1 */
		WORD(&na.ip.daddr, 0) = bpf_htonl(0xff020000);
		WORD(&na.ip.daddr, 3) = bpf_htonl(1);
		na.eth.h_dest[0] = 0x33;
		na.eth.h_dest[1] = 0x33;
		na.eth.h_dest[2] = na.eth.h_dest[3] = na.eth.h_dest[4] = 0;
		na.eth.h_dest[5] = 1;
	}
	na.icmp.icmp6_type = NEIGHBOUR_ADVERTISEMENT;
	*((__u8 *)&na.icmp + 4) = probe ? NA_OVERRIDE : NA_SOLICITED | NA_OVERRIDE;
	copy_words(&na.target, &target, 4);
	na.option = OPTION_TARGET_LINK_ADDRESS;
	na.option_words = 1;
	__builtin_memcpy(na.mac, own->mac, 6);
	na.icmp.icmp6_cksum = ~fold(
		sum_of(&na.icmp, sizeof(na) - offsetof(struct advertisement, icmp),
		       sum_of(&na.ip.saddr, 32,
			      bpf_htonl(IPPROTO_ICMPV6 << 16 | (sizeof(na) - offsetof(struct advertisement, icmp))))));
	if (replace_packet(skb, FRAME(&na), FRAME_SIZE(&na)))
		return DROP_INTERNAL;
	return VERDICT_NEIGHBOUR;
}

#endif /* PENSTOCK_NEIGHBOUR_H */
