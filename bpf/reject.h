/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Answers that refuse: TCP RST (RFC 9293 section 3.10.7.1), ICMP port unreachable (RFC 792, RFC 4443 section 3.1) and
 * "too big".
 *
 * Rules:
 *   - The packet itself is turned into its answer and sent back the way it came.
 *   - An RST to a segment with ACK has seq = its ack; else seq 0 and ack = seq + length, SYN and FIN counting one:
 *     the length comes from the IP header (a short frame is padded), or a client hangs for minutes.
 *   - Behind IP options or extension headers a UDP datagram gets no answer, since the quotation would not hold its
 *     ports, nor a segment whose checksum is unfinished: the NIC would write it where it was, behind the end of an RST.
 *   - All answers of our own share one limit per CPU and second. Never answer an RST, an ICMP error or a multicast.
 *   - A checksum that the sender left unfinished (CHECKSUM_PARTIAL) is finished by the NIC later: there the field must
 *     hold the pseudo header's sum only. A probe tells: bpf_l4_csum_replace changes nothing in that case. Of a UDP
 *     datagram made into an ICMP error the NIC then writes the complement of the message's sum where UDP's checksum
 *     was: into two unused bytes (RFC 792). With the pseudo header's sum (ICMP: 0) there before, the whole comes out
 *     right, whatever the ICMP checksum field holds.
 */
#ifndef PENSTOCK_REJECT_H
#define PENSTOCK_REJECT_H

#include "checksum.h"
#include "clock.h"
#include "maps.h"
#include "parse.h"
#include "settings.h"
#include "wire.h"

#define REPLY_TTL 64

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

/* Two bytes in front keep every word of the headers behind an Ethernet header aligned. */
struct rst4 {
	__u8 pad[2];
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
};

struct rst6 {
	__u8 pad[2];
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct tcphdr tcp;
};

#define QUOTED4 (sizeof(struct iphdr) + 8)
#define QUOTED6 (sizeof(struct ipv6hdr) + 8)

struct icmp_error4 {
	__u8 pad[2];
	struct ethhdr eth;
	struct iphdr ip;
	struct icmphdr icmp;
	__u8 quoted[QUOTED4];
};

struct icmp_error6 {
	__u8 pad[2];
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct icmp6hdr icmp;
	__u8 quoted[QUOTED6];
};

#define FRAME(reply) ((__u8 *)(reply) + 2)
#define FRAME_SIZE(reply) (sizeof(*(reply)) - 2)

static __always_inline void answer_eth(struct ethhdr *eth, const struct ethhdr *asked)
{
	__builtin_memcpy(eth->h_dest, asked->h_source, 6);
	__builtin_memcpy(eth->h_source, asked->h_dest, 6);
	eth->h_proto = asked->h_proto;
}

static __always_inline void answer_ip4(struct iphdr *ip, const union tuple *asked, __u8 protocol, __u16 length)
{
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(length);
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = REPLY_TTL;
	ip->protocol = protocol;
	ip->saddr = WORD(asked->v4.daddr, 0);
	ip->daddr = WORD(asked->v4.saddr, 0);
	ip->check = ~fold(sum_of(ip, sizeof(*ip), 0));
}

static __always_inline void answer_ip6(struct ipv6hdr *ip, const union tuple *asked, __u8 protocol, __u16 length)
{
	ip->version = 6;
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = protocol;
	ip->hop_limit = REPLY_TTL;
	copy_words(&ip->saddr, asked->v6.daddr, 4);
	copy_words(&ip->daddr, asked->v6.saddr, 4);
}

static __always_inline void answer_tcp(struct tcphdr *tcp, const struct tcphdr *asked, __u32 length)
{
	tcp->source = asked->dest;
	tcp->dest = asked->source;
	tcp->doff = 5;
	tcp->rst = 1;
	if (asked->ack) {
		tcp->seq = asked->ack_seq;
		return;
	}
	tcp->ack = 1;
	tcp->ack_seq = bpf_htonl(bpf_ntohl(asked->seq) + length + asked->syn + asked->fin);
}

/* Octets from `headers` to where the IP packet ends. `length_at`: offset of its length, which counts from `base`. */
static __always_inline __u32 payload_length(struct __sk_buff *skb, __u32 headers, __u32 length_at, __u32 base)
{
	__be16 length = 0;
	__u32 end;

	bpf_skb_load_bytes(skb, length_at, &length, sizeof(length));
	end = base + bpf_ntohs(length);
	if (!length || end > skb->len) /* 0: BIG TCP */
		end = skb->len;
	return end > headers ? end - headers : 0;
}

/* Is the transport checksum (at offset `at`) left for the NIC to finish? */
static __always_inline int is_checksum_partial(struct __sk_buff *skb, __u32 at)
{
	__u16 before = 0, after = 0;

	if (bpf_skb_load_bytes(skb, at, &before, 2))
		return 0;
	bpf_l4_csum_replace(skb, at, 0, 1, 4);
	bpf_skb_load_bytes(skb, at, &after, 2);
	bpf_l4_csum_replace(skb, at, 1, 0, 4);
	return before == after;
}

/* The sum of CHECKSUM_COMPLETE begins behind the Ethernet header. */
static __always_inline int store_frame(struct __sk_buff *skb, void *frame, __u32 size)
{
	if (bpf_skb_store_bytes(skb, 0, frame, ETH_HLEN, 0))
		return -1;
	return bpf_skb_store_bytes(skb, ETH_HLEN, frame + ETH_HLEN, size - ETH_HLEN, BPF_F_RECOMPUTE_CSUM);
}

static __always_inline int replace_packet(struct __sk_buff *skb, void *frame, __u32 size)
{
	return bpf_skb_change_tail(skb, size, 0) ? -1 : store_frame(skb, frame, size);
}

/* The checksum field over `sum` (pseudo header alone) and `whole` (all of it). */
static __always_inline __u16 checksum_field(int partial, __u32 sum, __u32 whole)
{
	return partial ? fold(sum) : (__u16)~fold(whole);
}

VERIFIED_ONCE int reply_rst4(struct __sk_buff *skb, struct packet *p)
{
	struct rst4 rst = {};
	struct ethhdr eth;
	struct tcphdr asked;
	__u32 headers, pseudo, whole;
	int partial;

	if (!p || bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) ||
	    bpf_skb_load_bytes(skb, p->l4, &asked, sizeof(asked)))
		return -1;
	partial = is_checksum_partial(skb, p->l4 + offsetof(struct tcphdr, check));
	headers = p->l4 + asked.doff * 4;
	answer_eth(&rst.eth, &eth);
	answer_ip4(&rst.ip, &p->tuple, IPPROTO_TCP, sizeof(rst.ip) + sizeof(rst.tcp));
	answer_tcp(&rst.tcp, &asked,
		   payload_length(skb, headers, ETH_HLEN + offsetof(struct iphdr, tot_len), ETH_HLEN));
	pseudo = sum_of(&rst.ip.saddr, 8, bpf_htonl(IPPROTO_TCP << 16 | sizeof(rst.tcp)));
	whole = sum_of(&rst.tcp, sizeof(rst.tcp), pseudo);
	rst.tcp.check = checksum_field(partial, pseudo, whole);
	return replace_packet(skb, FRAME(&rst), FRAME_SIZE(&rst));
}

VERIFIED_ONCE int reply_rst6(struct __sk_buff *skb, struct packet *p)
{
	struct rst6 rst = {};
	struct ethhdr eth;
	struct tcphdr asked;
	__u32 headers, pseudo, whole;
	int partial;

	if (!p || bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) ||
	    bpf_skb_load_bytes(skb, p->l4, &asked, sizeof(asked)))
		return -1;
	partial = is_checksum_partial(skb, p->l4 + offsetof(struct tcphdr, check));
	headers = p->l4 + asked.doff * 4;
	answer_eth(&rst.eth, &eth);
	answer_ip6(&rst.ip, &p->tuple, IPPROTO_TCP, sizeof(rst.tcp));
	answer_tcp(&rst.tcp, &asked,
		   payload_length(skb, headers, ETH_HLEN + offsetof(struct ipv6hdr, payload_len),
				  ETH_HLEN + sizeof(struct ipv6hdr)));
	pseudo = sum_of(&rst.ip.saddr, 32, bpf_htonl(IPPROTO_TCP << 16 | sizeof(rst.tcp)));
	whole = sum_of(&rst.tcp, sizeof(rst.tcp), pseudo);
	rst.tcp.check = checksum_field(partial, pseudo, whole);
	return replace_packet(skb, FRAME(&rst), FRAME_SIZE(&rst));
}

/* An ICMP error with this type, code and word behind the checksum. Of TCP's only those whose checksum is finished. */
VERIFIED_ONCE int reply_icmp4(struct __sk_buff *skb, struct packet *p, __u8 type, __u8 code, __u32 rest)
{
	struct icmp_error4 answer = {};
	struct ethhdr eth;
	int partial;

	if (!p || bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, answer.quoted, QUOTED4))
		return -1;
	partial = is_checksum_partial(skb, p->l4 + offsetof(struct udphdr, check));
	answer_eth(&answer.eth, &eth);
	answer_ip4(&answer.ip, &p->tuple, IPPROTO_ICMP, sizeof(answer) - offsetof(struct icmp_error4, ip));
	answer.icmp.type = type;
	answer.icmp.code = code;
	answer.icmp.rest = bpf_htonl(rest);
	if (!partial)
		answer.icmp.checksum = ~fold(sum_of(&answer.icmp, sizeof(answer.icmp) + QUOTED4, 0));
	return replace_packet(skb, FRAME(&answer), FRAME_SIZE(&answer));
}

VERIFIED_ONCE int reply_icmp6(struct __sk_buff *skb, struct packet *p, __u8 type, __u8 code, __u32 rest)
{
	struct icmp_error6 answer = {};
	struct ethhdr eth;
	__u32 pseudo;
	int partial;

	if (!p || bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, answer.quoted, QUOTED6))
		return -1;
	partial = is_checksum_partial(skb, p->l4 + offsetof(struct udphdr, check));
	answer_eth(&answer.eth, &eth);
	answer_ip6(&answer.ip, &p->tuple, IPPROTO_ICMPV6, sizeof(answer.icmp) + QUOTED6);
	answer.icmp.icmp6_type = type;
	answer.icmp.icmp6_code = code;
	answer.icmp.icmp6_mtu = bpf_htonl(rest);
	pseudo = sum_of(&answer.ip.saddr, 32, bpf_htonl(IPPROTO_ICMPV6 << 16 | (sizeof(answer.icmp) + QUOTED6)));
	if (partial)
		answer.icmp.icmp6_dataun.un_data16[1] = fold(pseudo);
	else
		answer.icmp.icmp6_cksum = ~fold(sum_of(&answer.icmp, sizeof(answer.icmp) + QUOTED6, pseudo));
	return replace_packet(skb, FRAME(&answer), FRAME_SIZE(&answer));
}

/* Refuses a TCP segment or UDP datagram; returns the verdict that says what was sent. */
VERIFIED_ONCE int refuse(struct __sk_buff *skb, struct packet *p, int family)
{
	int failed;

	if (!p)
		return DROP_INTERNAL;
	if (p->protocol == IPPROTO_TCP && (p->tcp_flags & TCP_RST))
		return DROP_NO_FLOW;
	if (p->l4 != ETH_HLEN + (family == AF_INET ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) &&
	    (p->protocol == IPPROTO_UDP || is_checksum_partial(skb, p->l4 + offsetof(struct tcphdr, check))))
		return DROP_NO_FLOW;
	if (!may_reply(BUDGET_REFUSALS))
		return DROP_RATE_LIMITED;
	if (p->protocol == IPPROTO_TCP) {
		failed = family == AF_INET ? reply_rst4(skb, p) : reply_rst6(skb, p);
		return failed ? DROP_INTERNAL : VERDICT_REJECTED_RST;
	}
	failed = family == AF_INET ? reply_icmp4(skb, p, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0) :
				     reply_icmp6(skb, p, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0);
	return failed ? DROP_INTERNAL : VERDICT_REJECTED_ICMP;
}

/* Can its sender be told that the packet is too large? An unfinished checksum would be written into the answer. */
static __always_inline int can_say_too_big(struct __sk_buff *skb, const struct packet *p)
{
	__u32 check_at = p->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check);

	return p->fragment == FRAGMENT_NONE && !is_checksum_partial(skb, p->l4 + check_at);
}

/* "Fragmentation needed" (RFC 1191), "packet too big" (RFC 4443 section 3.2); returns the verdict. */
VERIFIED_ONCE int say_too_big(struct __sk_buff *skb, struct packet *p, int family, __u32 mtu)
{
	int failed;

	if (!p)
		return DROP_INTERNAL;
	if (!may_reply(BUDGET_TOO_BIG))
		return DROP_RATE_LIMITED;
	failed = family == AF_INET ? reply_icmp4(skb, p, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu) :
				     reply_icmp6(skb, p, ICMPV6_PKT_TOOBIG, 0, mtu);
	return failed ? DROP_INTERNAL : VERDICT_TOO_BIG;
}

#endif /* PENSTOCK_REJECT_H */
