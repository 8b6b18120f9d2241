/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Reads a packet's own tuple.
 *
 * Decides: whether a packet has one (TCP or UDP, not a fragment), where its transport header starts.
 * Rules:
 *   - IPv4 options and IPv6 extension headers are stepped over (RFC 8200 section 4; at most MAX_EXTENSIONS), never
 *     read.
 *   - What is not linear is PARSED_SHORT (pull.h).
 * Must never: write to the packet, or trust a length field further than the data goes.
 */
#ifndef PENSTOCK_PARSE_H
#define PENSTOCK_PARSE_H

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "clock.h"
#include "context.h"
#include "maps.h"
#include "packet.h"
#include "verifier.h"
#include "words.h"

#define AF_INET 2
#define AF_INET6 10
#define MAX_EXTENSIONS 6
#define MAX_PULL 256

#define IP_DF bpf_htons(0x4000)
#define IP_MF bpf_htons(0x2000)
#define IP_OFFSET bpf_htons(0x1fff)

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* What a parser found. For all but the last the addresses are in the packet's tuple. */
enum parsed {
	PARSED_FLOW,	  /* TCP or UDP with ports */
	PARSED_ICMP,	  /* ICMP or ICMPv6 */
	PARSED_FRAGMENT,  /* p->l4 is behind the fragment header, p->protocol what it says */
	PARSED_OTHER,	  /* another protocol over IP */
	PARSED_MALFORMED, /* addresses are known, the rest contradicts itself */
	PARSED_SHORT,	  /* ends within a header, or the header is not linear yet */
};

/* One per CPU and not on the stack: that is 512 bytes, and a global function may only be given initialized ones. */
PINNED_MAP(packet_scratch, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct packet);

static __always_inline struct packet *this_cpu_packet(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&packet_scratch, &zero);
}

static __always_inline enum parsed parse_transport(context *ctx, struct packet *p, __u16 *sport, __u16 *dport,
						   __u8 icmp_of_family)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 l4 = p->l4;

	OPAQUE(l4);
	if (l4 > MAX_PULL)
		return PARSED_MALFORMED;
	if (p->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = data + l4;

		if ((void *)(tcp + 1) > end)
			return PARSED_SHORT;
		*sport = bpf_ntohs(tcp->source);
		*dport = bpf_ntohs(tcp->dest);
		p->tcp_flags = ((__u8 *)tcp)[13];
		p->seq = bpf_ntohl(tcp->seq);
		p->ack = bpf_ntohl(tcp->ack_seq);
		p->l4_header = tcp->doff * 4;
		return tcp->doff < 5 ? PARSED_MALFORMED : PARSED_FLOW;
	}
	if (p->protocol == IPPROTO_UDP) {
		struct udphdr *udp = data + l4;

		if ((void *)(udp + 1) > end)
			return PARSED_SHORT;
		*sport = bpf_ntohs(udp->source);
		*dport = bpf_ntohs(udp->dest);
		p->tcp_flags = 0;
		p->l4_header = sizeof(*udp);
		return PARSED_FLOW;
	}
	if (p->protocol == icmp_of_family) {
		struct icmp6hdr *icmp = data + l4;

		if ((void *)(icmp + 1) > end)
			return PARSED_SHORT;
		p->icmp_type = icmp->icmp6_type;
		return PARSED_ICMP;
	}
	return PARSED_OTHER;
}

static __always_inline enum parsed parse4(context *ctx, struct packet *p)
{
	struct iphdr *ip = (void *)(long)ctx->data + ETH_HLEN;
	struct tuple4 *t = &p->tuple.v4;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return PARSED_SHORT;
	WORD(t->saddr, 0) = ip->saddr;
	WORD(t->daddr, 0) = ip->daddr;
	WORD(&t->sport, 0) = 0;
	WORD(&t->protocol, 0) = 0;
	t->protocol = ip->protocol;
	p->protocol = ip->protocol;
	p->l4 = ETH_HLEN + ip->ihl * 4;
	if (ip->version != 4 || ip->ihl < 5)
		return PARSED_MALFORMED;
	if (ip->frag_off & (IP_MF | IP_OFFSET))
		return PARSED_FRAGMENT;
	return parse_transport(ctx, p, &t->sport, &t->dport, IPPROTO_ICMP);
}

/* Moves p->l4 and p->protocol past the extension headers; PARSED_FLOW means: go on. */
static __always_inline enum parsed skip_extensions(context *ctx, struct packet *p)
{
	__u32 offset = p->l4;
	__u8 next = p->protocol;

	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		struct ipv6_opt_hdr *extension;

		if (next != IPPROTO_FRAGMENT && next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS) {
			p->l4 = offset;
			p->protocol = next;
			return PARSED_FLOW;
		}
		OPAQUE(offset);
		if (offset > MAX_PULL)
			return PARSED_MALFORMED;
		extension = (void *)(long)ctx->data + offset;
		if ((void *)extension + 8 > (void *)(long)ctx->data_end) /* none is shorter */
			return PARSED_SHORT;
		if (next == IPPROTO_FRAGMENT) {
			/* Offset 0 and nothing to follow: a whole packet all the same (RFC 6946). */
			if (*(__u16 *)((void *)extension + 2) & bpf_htons(0xfff9)) {
				p->l4 = offset + 8;
				p->protocol = extension->nexthdr;
				return PARSED_FRAGMENT;
			}
			offset += 8;
		} else {
			offset += (extension->hdrlen + 1) * 8;
		}
		next = extension->nexthdr;
	}
	return PARSED_MALFORMED;
}

static __always_inline enum parsed parse6(context *ctx, struct packet *p)
{
	struct ipv6hdr *ip = (void *)(long)ctx->data + ETH_HLEN;
	struct tuple6 *t = &p->tuple.v6;
	enum parsed extensions;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return PARSED_SHORT;
	copy_words(t->saddr, &ip->saddr, 4);
	copy_words(t->daddr, &ip->daddr, 4);
	WORD(&t->sport, 0) = 0;
	WORD(&t->protocol, 0) = 0;
	p->protocol = ip->nexthdr;
	p->l4 = ETH_HLEN + sizeof(*ip);
	if (ip->version != 6)
		return PARSED_MALFORMED;
	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP) {
		extensions = skip_extensions(ctx, p);
		if (extensions != PARSED_FLOW)
			return extensions;
	}
	t->protocol = p->protocol;
	return parse_transport(ctx, p, &t->sport, &t->dport, IPPROTO_ICMPV6);
}

static __always_inline void set_ports(int family, union tuple *tuple, __u16 sport, __u16 dport)
{
	if (family == AF_INET) {
		tuple->v4.sport = sport;
		tuple->v4.dport = dport;
		return;
	}
	tuple->v6.sport = sport;
	tuple->v6.dport = dport;
}

static __always_inline enum parsed parse(context *ctx, struct packet *p, int family)
{
	return family == AF_INET ? parse4(ctx, p) : parse6(ctx, p);
}

/* The clock, read when a jiffy has passed: the coarse one moves no more often, and each reading costs 14 ns. */
static __always_inline __u32 read_clock(struct packet *p)
{
	__u64 jiffies = bpf_jiffies64();

	if (jiffies != p->jiffies) {
		p->jiffies = jiffies;
		p->now = now_seconds();
	}
	return p->now;
}

#endif /* PENSTOCK_PARSE_H */
