/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * SYNs from addresses that are somebody else's: 10.250.0.0/16 and fd00:250::/112, behind the client, where the SYN-ACKs
 * end. Rules: SYNS different senders, one after the other, then from the first again: whoever remembers each of them
 * needs as many entries, and no more.
 */
#ifndef PENSTOCK_BENCH_FLOOD_H
#define PENSTOCK_BENCH_FLOOD_H

#include "endpoint.h"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

enum { SYNS = 100000 };

struct flood {
	int fd;
	uint32_t sent;
};

/* What TCP's checksum is taken over (RFC 9293 section 3.1, RFC 8200 section 8.1), both families. */
struct pseudo {
	uint8_t addresses[32];
	uint32_t length;
	uint32_t protocol;
	struct tcphdr tcp;
};

static inline struct flood flood_begin(const union endpoint *e)
{
	/* we write the headers */
	struct flood f = {.fd = socket(e->any.sa_family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)};

	if (f.fd < 0)
		err(1, "raw socket");
	return f;
}

static inline uint16_t sum_of(const void *data, size_t size)
{
	const uint16_t *words = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < size / 2; i++)
		sum += words[i];
	sum = (sum >> 16) + (sum & 0xffff);
	return ~((sum >> 16) + sum);
}

static inline void flood_one(struct flood *f, const union endpoint *e)
{
	uint32_t number = f->sent++ % SYNS;
	union endpoint to = *e;
	struct pseudo p = {.length = htonl(sizeof(struct tcphdr)), .protocol = htonl(IPPROTO_TCP)};
	int is_ipv4 = e->any.sa_family == AF_INET;
	struct {
		union {
			struct iphdr v4;
			struct ip6_hdr v6;
		} ip;
		struct tcphdr room;
	} packet = {};
	size_t header = is_ipv4 ? sizeof(packet.ip.v4) : sizeof(packet.ip.v6);
	uint16_t host = htons(number & 0xffff);

	if (is_ipv4) {
		packet.ip.v4 = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP};
		packet.ip.v4.saddr = htonl(10u << 24 | 250u << 16 | (number & 0xffff));
		packet.ip.v4.daddr = e->v4.sin_addr.s_addr;
		memcpy(p.addresses, &packet.ip.v4.saddr, 8);
	} else {
		packet.ip.v6.ip6_vfc = 6 << 4;
		packet.ip.v6.ip6_plen = htons(sizeof(struct tcphdr));
		packet.ip.v6.ip6_nxt = IPPROTO_TCP;
		packet.ip.v6.ip6_hlim = 64;
		inet_pton(AF_INET6, "fd00:250::", &packet.ip.v6.ip6_src);
		memcpy(&packet.ip.v6.ip6_src.s6_addr[14], &host, 2);
		packet.ip.v6.ip6_dst = e->v6.sin6_addr;
		memcpy(p.addresses, &packet.ip.v6.ip6_src, 32);
		to.v6.sin6_port = 0; /* raw(7): a protocol here, which IPPROTO_RAW has said */
	}
	p.tcp.source = htons(1024 + (number >> 16));
	p.tcp.dest = is_ipv4 ? e->v4.sin_port : e->v6.sin6_port;
	p.tcp.seq = f->sent * 2654435761u;
	p.tcp.doff = sizeof(struct tcphdr) / 4;
	p.tcp.syn = 1;
	p.tcp.window = htons(64240);
	p.tcp.check = sum_of(&p, sizeof(p));
	memcpy((char *)&packet + header, &p.tcp, sizeof(p.tcp));
	if (sendto(f->fd, &packet, header + sizeof(p.tcp), 0, &to.any, endpoint_size(e)) < 0)
		err(1, "sending a SYN");
}

#endif
