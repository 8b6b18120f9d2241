/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the programs know of the packet in hand.
 *
 * Decides: which facts there are about a packet.
 * Rules: nothing here but data, and nothing of the kernel's headers but integers: bcc compiles this for `penstock
 * trace` where there are no headers. A trace reads what it shows of a packet here, as the BTF of `packet_scratch` has
 * it. What one stage alone needs stands here only where the stack has no room for it (`to`, `quote`).
 * Must never: hold a pointer.
 */
#ifndef PENSTOCK_PACKET_H
#define PENSTOCK_PACKET_H

#include "abi.h"

union tuple {
	struct tuple4 v4;
	struct tuple6 v6;
	__u64 align;
};

/* Of a UDP datagram (fragment.h). */
enum fragment {
	FRAGMENT_NONE,
	FRAGMENT_FIRST, /* with the ports */
	FRAGMENT_LATER, /* without a transport header */
};

/* What a packet becomes; a copy of its flow entry's to_*, since the entry may change under us. */
struct rewrite {
	__u32 saddr[4];
	__u32 daddr[4];
	__u16 sport;
	__u16 dport;
	__u8 hop;  /* take one off TTL / hop limit */
	__u8 macs; /* write the two below */
	__u8 dmac[6];
	__u8 smac[6];
};

/* Of an ICMP error: where the quoted packet's transport header is, where the quotation ends, and what it says. */
struct quote {
	__u32 l4;
	__u32 end; /* a short frame is padded: what follows is no part of the message */
	__u8 protocol;
	__u8 by_addressee; /* the error comes from the end that the quoted packet was for */
};

struct packet {
	union tuple tuple;
	struct rewrite to; /* set once its flow is known; here, since the stack is small */
	__u32 l4;	   /* offset of the transport header; 0: there is no tuple of this packet */
	__u8 protocol;
	__u8 tcp_flags; /* 0 for UDP */
	__u8 l4_header; /* bytes of TCP or UDP header, options included */
	__u32 seq;	/* TCP's */
	__u32 ack;
	__u8 icmp_type;
	__u32 now; /* seconds since boot, as of `jiffies` */
	__u64 jiffies;
	struct quote quote;
	int action;	   /* what the program returns, where a stage of its own delivered the packet */
	__u8 hook;	   /* enum hook: where the packet is */
	__u8 fragment;	   /* enum fragment */
	__u32 fragment_id; /* as in its header */
	__u32 listener_id; /* set when one was asked for a backend, that is for a new flow; else 0 */
	__u32 backend_id;  /* the flow's, or what the slot held for a new one; 0: neither */
	__u32 idle_limit;  /* ... and what its listener's policy says: seconds, 0: nothing; */
	__u8 affinity;	   /* leading bits of the source that choose, 0: the whole tuple does */
	__u8 node_address; /* addressed to a gateway address that is the node's own */
	__u8 turned;	   /* into a reset of its backend (reset.h) */
	__u8 verdict;	   /* enum verdict; this and what follows: only when it has ended (trace.h) */
	__u32 packets;	   /* as they are counted */
	__u32 bytes;
	/* Written by a tracer alone. */
	__u32 version; /* of IP; 0: something else */
	__u32 ifindex;
	__u64 at; /* nanoseconds since boot */
};

#endif /* PENSTOCK_PACKET_H */
