// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A tracer (trace.h), for bcc: compiled when somebody traces, with what he looks for in it.
 *
 * Decides: which packets are shown, and how many a second. The packet itself is what is sent up, as packet.h has it.
 * Given by agent/dataplane/tracer.py: PACKETS, where packet_scratch is pinned; RATE, per CPU and second; and WANTED, an
 * expression over `p` (agent/dataplane/trace_filter.py) made of the words below.
 * Must never: change a packet, or return anything but the action that was decided on.
 */
#include "packet.h"

#define TC_ACT_UNSPEC (-1)
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define SECOND 1000000000ULL
#define PAGES 256 /* of 4 KiB: some five thousand packets */

struct budget {
	u64 second;
	u64 spent;
	u64 lost; /* of those that were wanted: beyond the rate, or no room */
};

BPF_TABLE_PINNED("percpu_array", u32, struct packet, packet_scratch, 1, PACKETS);
BPF_PERCPU_ARRAY(budgets, struct budget, 1);
BPF_RINGBUF_OUTPUT(events, PAGES);

/* ---- The words of WANTED */

#define IN(set, number) (((set) >> (number)) & 1)

/* Whether `p->to` says what it became. */
static inline int is_rewritten(const struct packet *p)
{
	return p->verdict == VERDICT_FORWARDED || p->verdict == VERDICT_REPLIED ||
	       p->verdict == VERDICT_RESET_LIMITED || p->verdict == VERDICT_RELATED;
}

static inline int is_protocol(const struct packet *p, u8 protocol)
{
	return p->l4 && p->protocol == protocol;
}

/* At either end, before or after. */
static inline int has_port(const struct packet *p, u16 port)
{
	u16 sport = p->version == 4 ? p->tuple.v4.sport : p->tuple.v6.sport;
	u16 dport = p->version == 4 ? p->tuple.v4.dport : p->tuple.v6.dport;

	return p->l4 && (p->protocol == 6 || p->protocol == 17) &&
	       (sport == port || dport == port || (is_rewritten(p) && (p->to.sport == port || p->to.dport == port)));
}

static inline int is_in4(const void *address, u32 mask, u32 network)
{
	return (*(const u32 *)address & mask) == network;
}

static inline int has_address4(const struct packet *p, u32 mask, u32 network)
{
	return p->l4 && p->version == 4 &&
	       (is_in4(p->tuple.v4.saddr, mask, network) || is_in4(p->tuple.v4.daddr, mask, network) ||
		(is_rewritten(p) && (is_in4(p->to.saddr, mask, network) || is_in4(p->to.daddr, mask, network))));
}

/* Words of mask and network in turn. */
static inline int is_in6(const void *address, const u32 *net)
{
	const u32 *words = address;

	return (words[0] & net[0]) == net[1] && (words[1] & net[2]) == net[3] && (words[2] & net[4]) == net[5] &&
	       (words[3] & net[6]) == net[7];
}

static inline int has_address6(const struct packet *p, const u32 *net)
{
	return p->l4 && p->version == 6 &&
	       (is_in6(p->tuple.v6.saddr, net) || is_in6(p->tuple.v6.daddr, net) ||
		(is_rewritten(p) && (is_in6(p->to.saddr, net) || is_in6(p->to.daddr, net))));
}
#define HAS_ADDRESS6(p, ...) has_address6(p, (u32[8]){__VA_ARGS__})

/* ---- The programs */

static inline void show(struct packet *p, u16 protocol, u32 ifindex)
{
	u32 zero = 0;
	struct budget *budget = budgets.lookup(&zero);

	p->version = protocol == bpf_htons(ETH_P_IP) ? 4 : protocol == bpf_htons(ETH_P_IPV6) ? 6 : 0;
	p->ifindex = ifindex;
	p->at = bpf_ktime_get_ns();
	if (!budget || !(WANTED))
		return;
	if (budget->second != p->at / SECOND) {
		budget->second = p->at / SECOND;
		budget->spent = 0;
	}
	if (budget->spent >= RATE || events.ringbuf_output(p, sizeof(*p), 0))
		budget->lost++;
	else
		budget->spent++;
}

int tracer(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct packet *p = packet_scratch.lookup(&zero);

	if (!p)
		return TC_ACT_UNSPEC;
	show(p, skb->protocol, skb->ifindex);
	return p->action;
}

/* The same, at the end of XDP's program. */
int xdp_tracer(struct xdp_md *frame)
{
	u32 zero = 0;
	struct packet *p = packet_scratch.lookup(&zero);
	u16 *protocol = (void *)(long)frame->data + 12;

	if (!p)
		return XDP_DROP; /* there is always one */
	if ((void *)(protocol + 1) <= (void *)(long)frame->data_end)
		show(p, *protocol, frame->ingress_ifindex);
	return p->action;
}
