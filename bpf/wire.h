/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Wire formats whose kernel headers (linux/icmp.h, linux/if_arp.h) pull in the C library, which BPF has none of.
 *
 * Decides: which wire formats have a struct of ours.
 * Rules: formats only, as the RFCs draw them, and what is used of their numbers.
 * Must never: grow a function.
 */
#ifndef PENSTOCK_WIRE_H
#define PENSTOCK_WIRE_H

#include <linux/types.h>

/* RFC 792 */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_PORT_UNREACH 3
#define ICMP_FRAG_NEEDED 4

struct icmphdr {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__u32 rest;
};

/* RFC 826 */
#define ARPHRD_ETHER 1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY 2

struct arphdr {
	__u16 ar_hrd;
	__u16 ar_pro;
	__u8 ar_hln;
	__u8 ar_pln;
	__u16 ar_op;
};

#endif /* PENSTOCK_WIRE_H */
