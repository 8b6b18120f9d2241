/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the agent sets before the programs are loaded (rodata: the verifier drops the branches not taken).
 *
 * Decides: the defaults.
 * Rules: one object file for all nodes; defaults here are those of agent/settings.py. Times in seconds. Four
 * constants of all installations are among them, which the agent does not set: the limits of a table that fills, and
 * the two that stand at the end.
 * Must never: hold what changes while the programs run.
 */
#ifndef PENSTOCK_SETTINGS_H
#define PENSTOCK_SETTINGS_H

#include "abi.h"

/* Which set this program is of (in_force.h). */
const volatile __u32 set_number = 0;
/* Run by `penstock explain`: in a test run all stays where it is but what bpf_clone_redirect sends, so nothing does. */
const volatile __u8 is_trial = 0;
const volatile __u32 delivery = DELIVERY_STACK;
/* Interface index of penstock0: clients on the node come through it, and what SNAT hands to the stack enters there. */
const volatile __u32 local_ifindex = 0;
/* Live TCP flows (pairs) per family. The table itself has room for all half-open ones on top: reserved at the SYN. */
const volatile __u32 tcp_flows_max = 131072;
const volatile __u32 udp_flows_max = 65536;
/* Entries of source_connections. */
const volatile __u32 source_buckets = 36864;
/* RST and ICMP of our own, per CPU and second: so many refusals and echo replies, and as many "too big" (reject.h). */
const volatile __u32 reply_rate_limit = 1000;
/* Whether table `symmetric` has anything in it. */
const volatile __u8 has_symmetric = 0;
/* Ports that SNAT under the node's own address takes: no socket of the node may, nor kube-proxy. */
const volatile __u16 snat_port_min = 10000;
const volatile __u16 snat_port_max = 29999;
/* Idle limits. RFC 5382 REQ-5: established at least 2 h 4 m; RFC 4787 REQ-5: UDP at least 2 m. */
const volatile __u32 limit_tcp_established = 7860;
/* ... as long as the table is less than 3/4 full; less than 7/8; and above that. */
const volatile __u32 limit_filling = 3600;
const volatile __u32 limit_nearly_full = 900;
/* One FIN, and silence since: REQ-5 asks for 4 m; what is still sent the other way starts it anew. */
const volatile __u32 limit_closing = 1800;
const volatile __u32 limit_half_open = 60;
const volatile __u32 limit_closed = 60;
const volatile __u32 limit_reset = 10;
const volatile __u32 limit_udp = 120;

/* Put on packets we redirect to an interface whose egress carries our hook, taken off there. */
const volatile __u32 redirect_mark = 0x50454e53;
/* Same on every node, so that any node picks the same backend. */
const volatile __u32 hash_seed = 0x70656e73;

/* Never read by a program: clang leaves an enum out of BTF that no variable has, and the agent reads these there. */
const volatile struct {
	enum limits limits;
	enum backend_id backend_id;
	enum gateway_flag gateway_flag;
	enum policy_flag policy_flag;
	enum flow_state flow_state;
	enum flow_flag flow_flag;
	enum promotion promotion;
	enum delivery delivery;
} vocabulary = {};

#endif /* PENSTOCK_SETTINGS_H */
