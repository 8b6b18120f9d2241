/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMP errors about packets of our flows (RFC 792, RFC 4443): "fragmentation needed", "time exceeded", "unreachable".
 *
 * Decides: which flow's an error is, and who is to hear of it.
 * Rules:
 *   - An error quotes the packet that it is about, as we sent it on. The quoted tuple turned round is that of a packet
 *     that goes the error's own way: that one's flow entry says who the error is for, and what the quoted packet was
 *     before we rewrote it.
 *   - The error's source stays: a router's address tells somebody something. If it is the end that the quoted packet
 *     was for, it becomes the gateway's (or the client's) as that of any other packet of the flow.
 *   - ICMP's checksum covers the quotation; a quoted transport checksum is kept right where the quotation reaches it.
 * Must never: answer an error, or let one keep a flow alive or change its state: anybody can send one (RFC 5927).
 */
#ifndef PENSTOCK_ICMP_H
#define PENSTOCK_ICMP_H

#include "translate.h"

#define ICMP_HEADER 8

static __always_inline int is_icmp_error(const struct packet *p, int family)
{
	if (family == AF_INET6)
		return p->icmp_type >= ICMPV6_DEST_UNREACH && p->icmp_type <= ICMPV6_PARAMPROB;
	return p->icmp_type == ICMP_DEST_UNREACH || p->icmp_type == ICMP_TIME_EXCEEDED ||
	       p->icmp_type == ICMP_PARAMETERPROB;
}

/* The quoted packet's tuple, turned round, into `key`. Its source must be whom the error is sent to. */
static __always_inline int read_quote4(struct __sk_buff *skb, const struct packet *p, struct tuple4 *key,
				       struct quote *quote)
{
	__u32 length_at = ETH_HLEN + offsetof(struct iphdr, tot_len);
	struct iphdr ip;
	__be16 ports[2];

	quote->end = p->l4 + payload_length(skb, p->l4, length_at, ETH_HLEN);
	if (bpf_skb_load_bytes(skb, p->l4 + ICMP_HEADER, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 ||
	    (ip.frag_off & IP_OFFSET))
		return -1;
	quote->l4 = p->l4 + ICMP_HEADER + ip.ihl * 4;
	quote->protocol = ip.protocol;
	if (quote->l4 + sizeof(ports) > quote->end || bpf_skb_load_bytes(skb, quote->l4, ports, sizeof(ports)))
		return -1;
	WORD(key->saddr, 0) = ip.daddr;
	WORD(key->daddr, 0) = ip.saddr;
	key->sport = bpf_ntohs(ports[1]);
	key->dport = bpf_ntohs(ports[0]);
	WORD(&key->protocol, 0) = 0;
	key->protocol = ip.protocol;
	quote->by_addressee = WORD(key->saddr, 0) == WORD(p->tuple.v4.saddr, 0);
	return WORD(key->daddr, 0) == WORD(p->tuple.v4.daddr, 0) ? 0 : -1;
}

static __always_inline int read_quote6(struct __sk_buff *skb, const struct packet *p, struct tuple6 *key,
				       struct quote *quote)
{
	__u32 length_at = ETH_HLEN + offsetof(struct ipv6hdr, payload_len);
	struct ipv6hdr ip;
	__be16 ports[2];

	quote->end = p->l4 + payload_length(skb, p->l4, length_at, ETH_HLEN + sizeof(ip));
	if (bpf_skb_load_bytes(skb, p->l4 + ICMP_HEADER, &ip, sizeof(ip)) || ip.version != 6)
		return -1;
	quote->l4 = p->l4 + ICMP_HEADER + sizeof(ip);
	quote->protocol = ip.nexthdr;
	if (ip.nexthdr == IPPROTO_FRAGMENT) { /* of a first fragment the ports are there */
		struct {
			__u8 nexthdr, reserved;
			__be16 offset;
		} fragment;

		if (bpf_skb_load_bytes(skb, quote->l4, &fragment, sizeof(fragment)) ||
		    (fragment.offset & bpf_htons(0xfff8)))
			return -1;
		quote->protocol = fragment.nexthdr;
		quote->l4 += 8;
	}
	if (quote->l4 + sizeof(ports) > quote->end || bpf_skb_load_bytes(skb, quote->l4, ports, sizeof(ports)))
		return -1;
	copy_words(key->saddr, &ip.daddr, 4);
	copy_words(key->daddr, &ip.saddr, 4);
	key->sport = bpf_ntohs(ports[1]);
	key->dport = bpf_ntohs(ports[0]);
	WORD(&key->protocol, 0) = 0;
	key->protocol = quote->protocol;
	quote->by_addressee = equal_words(key->saddr, p->tuple.v6.saddr, 4);
	return equal_words(key->daddr, p->tuple.v6.daddr, 4) ? 0 : -1;
}

/* The quotation's tuple into this CPU's scratch key, and what else it says into its packet. */
VERIFIED_ONCE int read_quote(struct __sk_buff *skb, int family)
{
	struct packet *p = this_cpu_packet();
	struct pair *scratch = this_cpu_pair();

	if (!p || !scratch)
		return -1;
	OPAQUE(p);
	OPAQUE(scratch);
	return family == AF_INET ? read_quote4(skb, p, &scratch->twin.v4, &p->quote) :
				   read_quote6(skb, p, &scratch->twin.v6, &p->quote);
}

/* The two addresses at `at`; adds to `sum` what the new ones change. */
static __always_inline int rewrite_addresses(struct __sk_buff *skb, int family, __u32 at, int keep_source,
					     const __u32 *saddr, const __u32 *daddr, __u64 *sum)
{
	int words = words_of(family);
	__u32 was[8], now[8];

	if (family == AF_INET ? bpf_skb_load_bytes(skb, at, was, 8) : bpf_skb_load_bytes(skb, at, was, 32))
		return -1;
	for (int i = 0; i < words; i++) {
		now[i] = keep_source ? was[i] : saddr[i];
		now[words + i] = daddr[i];
		*sum += difference(was[i], now[i]) + difference(was[words + i], now[words + i]);
	}
	return family == AF_INET ? bpf_skb_store_bytes(skb, at, now, 8, 0) : bpf_skb_store_bytes(skb, at, now, 32, 0);
}

/* A 16-bit checksum at `at`, after words that it covers changed by `diff`. */
static __always_inline int adjust_at(struct __sk_buff *skb, __u32 at, __u32 diff)
{
	__u16 check;

	if (bpf_skb_load_bytes(skb, at, &check, 2))
		return -1;
	check = adjusted(check, diff);
	return bpf_skb_store_bytes(skb, at, &check, 2, 0);
}

/* Quoted ports, and the transport checksum if the quotation reaches it. `addresses` is the pseudo header's change. */
static __always_inline int rewrite_quoted_transport(struct __sk_buff *skb, const struct quote *quote,
						    const struct rewrite *r, __u32 addresses, __u64 *sum)
{
	__u32 check_at = quote->l4 + (quote->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check) :
								       offsetof(struct udphdr, check));
	__u32 ports = bpf_htons(r->dport) | (__u32)bpf_htons(r->sport) << 16, was_ports;
	__u16 check, was_check;
	__u64 change;

	if (bpf_skb_load_bytes(skb, quote->l4, &was_ports, 4) || bpf_skb_store_bytes(skb, quote->l4, &ports, 4, 0))
		return -1;
	change = difference(was_ports, ports);
	*sum += change;
	if (check_at + 2 > quote->end)
		return 0;
	if (bpf_skb_load_bytes(skb, check_at, &was_check, 2) || (quote->protocol == IPPROTO_UDP && !was_check))
		return 0;
	check = adjusted(was_check, fold32(change + addresses));
	if (quote->protocol == IPPROTO_UDP && !check)
		check = 0xffff;
	*sum += difference(was_check, check);
	return bpf_skb_store_bytes(skb, check_at, &check, 2, 0);
}

/* One off the TTL or hop limit, which is the other byte of its word in the two families. */
static __always_inline int take_hop(struct __sk_buff *skb, int family, __u32 *diff)
{
	__u32 at = ETH_HLEN + (family == AF_INET ? offsetof(struct iphdr, ttl) : offsetof(struct ipv6hdr, hop_limit));
	__u8 hops;

	if (bpf_skb_load_bytes(skb, at, &hops, 1))
		return -1;
	hops--;
	*diff = family == AF_INET ? bpf_htons(0xfeff) : bpf_htons(0xfffe);
	return bpf_skb_store_bytes(skb, at, &hops, 1, 0);
}

/*
 * Rewrites the whole error. All that changes is balanced by some checksum that changes too, so skb->csum of
 * CHECKSUM_COMPLETE stays as it is, but for the hop limit of IPv6, whose header has no checksum.
 */
VERIFIED_ONCE int rewrite_error(struct __sk_buff *skb, int family)
{
	struct packet *p = this_cpu_packet();
	const struct rewrite *r;
	const struct quote *quote;
	__u32 addresses_at = family == AF_INET ? offsetof(struct iphdr, saddr) : offsetof(struct ipv6hdr, saddr);
	__u32 quoted_ip, hop = 0;
	__u64 outer = 0, inner = 0, covered = 0;

	if (!p)
		return -1;
	OPAQUE(p); /* as in flow_in_the_making() */
	r = &p->to;
	quote = &p->quote;
	quoted_ip = p->l4 + ICMP_HEADER;
	if (r->macs && (bpf_skb_store_bytes(skb, 0, r->dmac, 6, 0) || bpf_skb_store_bytes(skb, 6, r->smac, 6, 0)))
		return -1;
	if (r->hop && take_hop(skb, family, &hop))
		return -1;
	if (rewrite_addresses(skb, family, ETH_HLEN + addresses_at, !quote->by_addressee, r->saddr, r->daddr, &outer) ||
	    rewrite_addresses(skb, family, quoted_ip + addresses_at, 0, r->daddr, r->saddr, &inner) ||
	    rewrite_quoted_transport(skb, quote, r, fold32(inner), &covered))
		return -1;
	if (family == AF_INET) {
		if (adjust_at(skb, ETH_HLEN + offsetof(struct iphdr, check), fold32(outer + hop)) ||
		    adjust_at(skb, quoted_ip + offsetof(struct iphdr, check), fold32(inner)))
			return -1;
	} else {
		covered += inner + outer; /* no checksum of their own; ICMPv6's covers the pseudo header */
		bpf_csum_update(skb, hop);
	}
	return adjust_at(skb, p->l4 + offsetof(struct icmphdr, checksum), fold32(covered));
}

/* An ICMP error: the verdict, with p->action set, or FLOW_IS_ABSENT if it is about no flow of ours. */
VERIFIED_ONCE int carry_error(struct __sk_buff *skb, int family)
{
	struct packet *p = this_cpu_packet();
	struct pair *scratch = this_cpu_pair();
	struct quote *quote;
	struct flow *f;
	union tuple *key;
	__u32 generation, ifindex;
	enum way way;

	if (!p || !scratch)
		return DROP_INTERNAL;
	p->action = TC_ACT_UNSPEC;
	key = &scratch->twin;
	OPAQUE(p);
	quote = &p->quote;
	if (read_quote(skb, family))
		return FLOW_IS_ABSENT;
	if (quote->protocol != IPPROTO_TCP && quote->protocol != IPPROTO_UDP)
		return FLOW_IS_ABSENT;
	f = known_flow(family, quote->protocol, key);
	if (!f || !belongs_at(p->hook, f))
		return FLOW_IS_ABSENT;
	read_clock(p);
	p->l4_header = ICMP_HEADER;
	generation = f->generation;
	p->backend_id = f->backend_id;
	copy_rewrite(family, &p->to, f);
	way = way_of(skb, p, f, family, p->hook);
	if (way == WAY_NONE || way == WAY_TOO_BIG)
		return VERDICT_NOT_OURS;
	ifindex = f->nexthop.ifindex;
	prepare(&p->to, way, f, p->hook);
	if (is_another(family, f, key, generation))
		return FLOW_IS_ABSENT;
	if (rewrite_error(skb, family))
		return DROP_INTERNAL; /* which process() drops */
	p->action = deliver(skb, way, ifindex);
	return VERDICT_RELATED;
}

#endif /* PENSTOCK_ICMP_H */
