/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Answers that refuse: TCP RST (RFC 9293 section 3.10.7.1), ICMP port unreachable (RFC 792, RFC 4443 section 3.1) and
 * "too big".
 *
 * Decides: what is said to whom.
 * Rules:
 *   - The packet itself is turned into its answer and sent back the way it came.
 *   - An RST to a segment with ACK has seq = its ack; else seq 0 and ack = seq + length, SYN and FIN counting one:
 *     the length comes from the IP header (a short frame is padded), or a client hangs for minutes.
 *   - Behind IP options or extension headers a UDP datagram gets no answer, since the quotation would not hold its
 *     ports, nor a segment whose checksum is unfinished: the NIC would write it where it was, behind the end of an RST.
 *   - How often is reply_rate.h's. Never answer an RST, an ICMP error or a multicast.
 *   - A checksum that the sender left unfinished (CHECKSUM_PARTIAL) is finished by the NIC later: there the field
 *     must hold the pseudo header's sum only. A probe tells: bpf_l4_csum_replace changes nothing in that case. An
 *     ICMP error's headers go in front of what it quotes, so the NIC finds the field where it was, in the quotation.
 *     Whatever it writes, the sum from the transport header on becomes the complement of what the field holds now,
 *     and that goes into ICMP's checksum (Linux' local checksum offload).
 * Must never: send an answer to an answer.
 */
#ifndef PENSTOCK_REJECT_H
#define PENSTOCK_REJECT_H

#include "checksum.h"
#include "parse.h"
#include "reply_rate.h"
#include "wire.h"

#define REPLY_TTL 64

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

/*
 * What goes in front of what an ICMP error quotes: an IP header without options and of the transport header these
 * octets.
 */
struct icmp_front4 {
	__u8 pad[2];
	struct ethhdr eth;
	struct iphdr ip;
	struct icmphdr icmp;
};

struct icmp_front6 {
	__u8 pad[2];
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct icmp6hdr icmp;
};

struct quoted4 {
	struct iphdr ip;
	__u8 transport[sizeof(struct tcphdr)];
};

struct quoted6 {
	struct ipv6hdr ip;
	__u8 transport[sizeof(struct tcphdr)];
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

static __always_inline __u32 quoted_transport(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
}

/* Adds to `sum` what is quoted of a transport header: as it is, or as it will be when its checksum is finished. */
static __always_inline __u64 sum_of_transport(struct __sk_buff *skb, const struct packet *p, __u8 *transport, __u32 sum)
{
	__u32 at = p->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check);
	__u16 field = p->protocol == IPPROTO_TCP ? ((struct tcphdr *)transport)->check :
						   ((struct udphdr *)transport)->check;

	if (is_checksum_partial(skb, p->l4 + at))
		return (__u64)sum + (__u16)~field;
	return p->protocol == IPPROTO_TCP ? sum_of(transport, sizeof(struct tcphdr), sum) :
					    sum_of(transport, sizeof(struct udphdr), sum);
}

/* The packet becomes one that begins with this frame, of `size` octets, and ends with the packet's first `quoted`. */
static __always_inline int put_in_front(struct __sk_buff *skb, void *frame, __u32 size, __u32 quoted)
{
	if (bpf_skb_change_tail(skb, ETH_HLEN + quoted, 0) || bpf_skb_change_head(skb, size - ETH_HLEN, 0))
		return -1;
	return store_frame(skb, frame, size);
}

/* An ICMP error with this type, code and word behind the checksum. The packet has no IP options. */
VERIFIED_ONCE int reply_icmp4(struct __sk_buff *skb, struct packet *p, __u8 type, __u8 code, __u32 rest)
{
	struct icmp_front4 front = {};
	struct quoted4 quoted = {};
	struct ethhdr eth;
	__u32 size;

	if (!p || bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, &quoted, sizeof(quoted.ip) + sizeof(struct udphdr)) ||
	    (p->protocol == IPPROTO_TCP && bpf_skb_load_bytes(skb, ETH_HLEN, &quoted, sizeof(quoted))))
		return -1;
	size = sizeof(quoted.ip) + quoted_transport(p);
	answer_eth(&front.eth, &eth);
	answer_ip4(&front.ip, &p->tuple, IPPROTO_ICMP, sizeof(front.ip) + sizeof(front.icmp) + size);
	front.icmp.type = type;
	front.icmp.code = code;
	front.icmp.rest = bpf_htonl(rest);
	front.icmp.checksum = ~fold(
		sum_of_transport(skb, p, quoted.transport,
				 sum_of(&quoted.ip, sizeof(quoted.ip), sum_of(&front.icmp, sizeof(front.icmp), 0))));
	return put_in_front(skb, FRAME(&front), FRAME_SIZE(&front), size);
}

VERIFIED_ONCE int reply_icmp6(struct __sk_buff *skb, struct packet *p, __u8 type, __u8 code, __u32 rest)
{
	struct icmp_front6 front = {};
	struct quoted6 quoted = {};
	struct ethhdr eth;
	__u32 size, pseudo;

	if (!p || bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, &quoted, sizeof(quoted.ip) + sizeof(struct udphdr)) ||
	    (p->protocol == IPPROTO_TCP && bpf_skb_load_bytes(skb, ETH_HLEN, &quoted, sizeof(quoted))))
		return -1;
	size = sizeof(quoted.ip) + quoted_transport(p);
	answer_eth(&front.eth, &eth);
	answer_ip6(&front.ip, &p->tuple, IPPROTO_ICMPV6, sizeof(front.icmp) + size);
	front.icmp.icmp6_type = type;
	front.icmp.icmp6_code = code;
	front.icmp.icmp6_mtu = bpf_htonl(rest);
	pseudo = sum_of(&front.ip.saddr, 32, bpf_htonl(IPPROTO_ICMPV6 << 16 | (sizeof(front.icmp) + size)));
	front.icmp.icmp6_cksum = ~fold(sum_of_transport(
		skb, p, quoted.transport,
		sum_of(&quoted.ip, sizeof(quoted.ip), sum_of(&front.icmp, sizeof(front.icmp), pseudo))));
	return put_in_front(skb, FRAME(&front), FRAME_SIZE(&front), size);
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

/* Would a quotation of the packet hold its ports? Behind IP options or extension headers it would not. */
static __always_inline int can_be_quoted(const struct packet *p, int family)
{
	return p->fragment == FRAGMENT_NONE &&
	       p->l4 == ETH_HLEN + (family == AF_INET ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
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
