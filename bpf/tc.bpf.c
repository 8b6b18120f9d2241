// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The packet's way, as TC sees it. Read this file first.
 *
 *   parse -> a UDP fragment?  its ports are its first's; before that has passed it is kept
 *         -> an ICMP error?  about a known flow: translate it as that flow's packets
 *         -> no ports else?  neighbour discovery and echo are answered, the rest is dropped if it is to a gateway
 *         -> known flow?  yes: translate (state, count, rewrite, deliver)
 *                         no:  came in, is not to a gateway and cannot be of a remote backend's handshake (TCP, at an
 *                              uplink)?  not ours
 *                              a later fragment?  its first has begun no flow: drop, or not ours
 *                              a handshake we know?  flows are moving (in_force.h)?  drop
 *                                                    else move its state on, and translate. The client's last ACK
 *                                                    promotes it, if the policy's limits leave room
 *                                                    (take_connection), else resets one end
 *                              promoted since, by another CPU?  translate
 *                              goes out, or is not to a gateway?  not ours
 *              find_backend()  from a gateway's address?  drop: martian
 *                              a SYN-ACK?  drop; on the node's own address not ours
 *                              nobody listens?  refuse; on the node's own address not ours
 *                              to a connection of the node's own?  not ours
 *              offer()         an RST?  drop
 *                              flows are moving?  drop
 *                              the listener's policy denies the source?  refuse, or drop
 *                              listener, or source, at the policy's limit?  refuse
 *                              choose a backend: the share of REJECT?  refuse, or drop
 *                              no room in TCP's table?  refuse
 *              begin_flow()    in mid-stream, where the backend would not see the client?  refuse
 *                              no reply tuple is free?  refuse
 *                              translate
 *         -> the first fragment of a datagram?  those that wait for it need not any more (first_has_passed)
 *
 * Rules: every packet is counted once, in end(), under its hook, by the set of programs that is in force (in_force.h);
 * whatever is not ours passes untouched, and so does what was sent to all or to a group (RFC 1122 sections 3.2.2,
 * 4.2.3.10), but for a neighbour's question. A program ends with TC_ACT_UNSPEC (the next program sees the packet), a
 * redirect, or TC_ACT_SHOT for our own drops and for what is kept (VERDICT_HELD).
 */
#include <linux/if_packet.h>

#include "half_open.h"
#include "icmp.h"
#include "in_force.h"
#include "neighbour.h"
#include "offer.h"
#include "own_socket.h"
#include "ping.h"
#include "pull.h"
#include "trace.h"

char _license[] SEC("license") = "Dual BSD/GPL";

static __always_inline int is_drop(int verdict)
{
	return verdict >= DROP_MALFORMED;
}

/* The packet was turned into our answer to it. */
static __always_inline int is_answer(int verdict)
{
	_Static_assert(VERDICT_NEIGHBOUR - VERDICT_REJECTED_RST == 8 && VERDICT_PING - VERDICT_NEIGHBOUR == 1 &&
			       VERDICT_RESET_LIMITED < DROP_MALFORMED,
		       "the answers stand together, and the drops last (abi.h)");
	return verdict >= VERDICT_REJECTED_RST && verdict <= VERDICT_PING;
}

/* TCP or UDP to a gateway, without a flow: FLOW_GOES_ON with a backend chosen, or the verdict. */
VERIFIED_ONCE int find_backend(struct __sk_buff *skb, int family)
{
	struct packet *p = this_cpu_packet();
	struct listener *listener;

	if (!p)
		return DROP_INTERNAL;
	if (is_from_gateway(family, &p->tuple))
		return DROP_MARTIAN;
	/* The SYN-ACK of a handshake that we forgot: its sender must not be told to give up, it will ask again. */
	if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		return p->node_address ? VERDICT_NOT_OURS : DROP_NO_FLOW;
	listener = listener_of(family, &p->tuple);
	if (listener && p->node_address && !(p->protocol == IPPROTO_TCP && is_first_syn(p->tcp_flags)) &&
	    is_nodes_own(skb, family))
		return VERDICT_NOT_OURS;
	if (listener)
		return offer(skb, p, family, listener);
	return p->node_address ? VERDICT_NOT_OURS : (int)refuse(skb, p, family);
}

/* IP, but neither TCP nor UDP with ports. */
VERIFIED_ONCE int without_ports(struct __sk_buff *skb, struct packet *p, int family, enum parsed parsed)
{
	struct gateway *gateway;

	if (!p)
		return DROP_INTERNAL;
	if (parsed == PARSED_ICMP && family == AF_INET6 && p->icmp_type == NEIGHBOUR_SOLICITATION)
		return p->hook == HOOK_UPLINK_INGRESS ? (int)answer_solicitation(skb, p) : VERDICT_NOT_OURS;
	gateway = gateway_of(family, &p->tuple);
	if (!gateway || (gateway->flags & GATEWAY_NODE_ADDRESS) || skb->pkt_type != PACKET_HOST)
		return VERDICT_NOT_OURS;
	if (parsed == PARSED_FRAGMENT)
		return DROP_FRAGMENT;
	if (parsed == PARSED_ICMP)
		return is_echo_request(p)	? (int)answer_echo(skb, p, family) :
		       is_icmp_error(p, family) ? DROP_NO_FLOW :
						  DROP_PROTOCOL;
	return parsed == PARSED_OTHER ? DROP_PROTOCOL : DROP_MALFORMED;
}

/* As parse(), with the headers made linear if they are not; PARSED_SHORT: not even IP's are there. */
static __always_inline enum parsed parse_whole(struct __sk_buff *skb, struct packet *p, int family)
{
	enum parsed parsed = parse(skb, p, family);

	if (parsed == PARSED_SHORT && !pull_headers(skb))
		parsed = parse(skb, p, family);
	if (parsed != PARSED_SHORT)
		return parsed;
	return skb->len < ETH_HLEN + (family == AF_INET ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) ?
		       PARSED_SHORT :
		       PARSED_MALFORMED;
}

/* IP without ports to look up: of ICMP, what is about a flow is carried. */
static __always_inline int handle_portless(struct __sk_buff *skb, struct packet *p, int family, enum parsed parsed,
					   int takes_requests, int *action)
{
	int verdict;

	if (parsed == PARSED_ICMP && is_icmp_error(p, family) && skb->pkt_type == PACKET_HOST) {
		verdict = carry_error(skb, family);
		if (verdict != FLOW_IS_ABSENT) {
			*action = p->action;
			return verdict;
		}
	}
	return takes_requests ? (int)without_ports(skb, p, family, parsed) : VERDICT_NOT_OURS;
}

/* The packet's entry in the table of established flows, or in UDP's. */
static __always_inline struct flow *established_flow(const struct packet *p, int family)
{
	struct flow *f;

	if (p->protocol != IPPROTO_TCP)
		return flow_lookup(TABLE_UDP, family, &p->tuple);
	f = flow_lookup(TABLE_TCP, family, &p->tuple);
	OPAQUE(f); /* else clang makes one call of the two, with a map chosen before it: no look-up to inline */
	return f;
}

/* A segment that no established flow took: FLOW_GOES_ON, with the entry to carry it by if any, or the verdict. */
static __always_inline int find_handshake(struct __sk_buff *skb, struct packet *p, int family, enum hook hook,
					  struct flow **entry)
{
	struct flow *f = 0;
	int known = HALF_OPEN_NONE;

	*entry = 0;
	if (flow_lookup(TABLE_HALF_OPEN, family, &p->tuple))
		known = half_open_step(family);
	if (known == HANDSHAKE_WAITS)
		return DROP_MOVING;
	if (known == HALF_OPEN_EXCESS && turn_into_reset(skb))
		return DROP_INTERNAL;
	if (known == HALF_OPEN_REFUSED)
		return refuse(skb, p, family) == VERDICT_REJECTED_RST ? VERDICT_REFUSED_LIMITED : DROP_LIMITED;
	if (known != HALF_OPEN_NONE || !is_first_syn(p->tcp_flags)) {
		f = flow_lookup(TABLE_TCP, family, &p->tuple); /* promoted by another CPU between our two look-ups? */
		if (f && (!f->generation || !belongs_at(hook, f)))
			f = 0;
		if (f && (p->tcp_flags & (TCP_FIN | TCP_RST)) && follow_tcp(family, f) == DROP_MOVING)
			return DROP_MOVING;
	}
	if (!f && known != HALF_OPEN_NONE)
		f = flow_lookup(TABLE_HALF_OPEN, family, &p->tuple);
	*entry = f;
	return FLOW_GOES_ON;
}

/* A packet without a flow, to a gateway: FLOW_GOES_ON when its flow has begun, or the verdict. */
static __always_inline int begin(struct __sk_buff *skb, struct packet *p, int family)
{
	int verdict = find_backend(skb, family);

	if (verdict == FLOW_GOES_ON)
		verdict = begin_flow(skb, family);
	if (verdict == FLOW_NEEDS_PORT)
		verdict = begin_flow_by_snat(family);
	if (verdict == FLOW_COLLIDES) /* answered here, for the stack's sake */
		verdict = p->protocol == IPPROTO_TCP && refuse(skb, p, family) == VERDICT_REJECTED_RST ?
				  VERDICT_REFUSED_COLLISION :
				  DROP_COLLISION;
	if (verdict == FLOW_MIDSTREAM)
		verdict = refuse(skb, p, family) == VERDICT_REJECTED_RST ? VERDICT_REFUSED_MIDSTREAM : DROP_MIDSTREAM;
	return verdict;
}

static __always_inline int handle_ip(struct __sk_buff *skb, struct packet *p, int family, enum hook hook,
				     struct weight weight, int *action)
{
	int takes_requests = hook == HOOK_UPLINK_INGRESS || hook == HOOK_LOCAL_EGRESS, verdict;
	struct gateway *gateway;
	enum parsed parsed;
	int has_begun = 0;
	struct flow *f;

	parsed = parse_whole(skb, p, family);
	if (parsed == PARSED_SHORT)
		return VERDICT_NOT_OURS;
	if (parsed == PARSED_FRAGMENT && p->protocol == IPPROTO_UDP && skb->pkt_type == PACKET_HOST) {
		pull_headers(skb); /* parse() has not looked for ports */
		verdict = place_fragment(skb, family, takes_requests);
		if (verdict != FLOW_GOES_ON)
			return verdict == FLOW_IS_ABSENT ? VERDICT_NOT_OURS : verdict;
		parsed = PARSED_FLOW;
	}
	if (parsed != PARSED_FLOW)
		return handle_portless(skb, p, family, parsed, takes_requests, action);
	if (skb->pkt_type != PACKET_HOST)
		return VERDICT_NOT_OURS;

	f = established_flow(p, family);
	verdict = f ? translate(skb, p, f, family, hook, weight, action) : FLOW_IS_ABSENT;
	if (verdict != FLOW_IS_ABSENT)
		return verdict;

	read_clock(p);
	p->turned = 0;
	/* where requests come in, what goes on from here is to a gateway, or a remote backend's in a handshake */
	if (takes_requests) {
		gateway = gateway_of(family, &p->tuple);
		p->node_address = gateway && (gateway->flags & GATEWAY_NODE_ADDRESS);
		takes_requests = gateway != 0;
		if (!takes_requests && (hook != HOOK_UPLINK_INGRESS || p->protocol != IPPROTO_TCP))
			return VERDICT_NOT_OURS;
	}
	if (p->fragment == FRAGMENT_LATER) /* its first began no flow, or the flow is gone */
		return !takes_requests || p->node_address ? VERDICT_NOT_OURS : DROP_FRAGMENT;
	f = 0;
	if (p->protocol == IPPROTO_TCP) {
		verdict = find_handshake(skb, p, family, hook, &f);
		if (verdict != FLOW_GOES_ON)
			return verdict;
	}
	if (!f) {
		verdict = takes_requests ? begin(skb, p, family) : VERDICT_NOT_OURS;
		if (verdict != FLOW_GOES_ON)
			return verdict;
		has_begun = 1;
		f = known_flow(family, p->protocol, &p->tuple);
	}
	if (!f)
		f = flow_in_the_making();
#pragma clang loop unroll(disable)
	for (int attempt = 0; attempt < 2 && f; attempt++) {
		verdict = carry(skb, p, f, family, hook, weight, action);
		if (verdict != FLOW_IS_ABSENT)
			return p->turned && verdict == VERDICT_FORWARDED ? VERDICT_RESET_LIMITED : verdict;
		f = known_flow(family, p->protocol, &p->tuple); /* another CPU promoted it while we read the entry */
		if (!f && has_begun)				/* or took out the one before it */
			f = flow_in_the_making();
	}
	return DROP_NO_FLOW; /* another CPU removed it: whoever sent this will send it again */
}

static __always_inline int process(struct __sk_buff *skb, enum hook hook)
{
	struct weight weight = weigh(skb);
	int verdict = VERDICT_NOT_OURS;
	int action = TC_ACT_UNSPEC;
	struct packet *p = this_cpu_packet();

	if (!p || !is_in_force())
		return TC_ACT_UNSPEC;
	p->hook = hook;
	p->fragment = FRAGMENT_NONE;
	p->l4 = 0;
	p->listener_id = 0;
	p->backend_id = BACKEND_NONE;
	if (hook == HOOK_UPLINK_EGRESS && skb->mark == redirect_mark) {
		skb->mark = 0;
		return end(skb, p, hook, VERDICT_REDIRECTED, weight, TC_ACT_UNSPEC);
	}
	/*
	 * Not this interface's: frames for other hosts (promiscuous mode), and tagged ones, which belong to the VLAN's
	 * own interface (it may be an uplink itself).
	 */
	if (skb->pkt_type == PACKET_OTHERHOST || skb->vlan_present)
		verdict = VERDICT_NOT_OURS;
	else if (skb->protocol == bpf_htons(ETH_P_IP))
		verdict = handle_ip(skb, p, AF_INET, hook, weight, &action);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		verdict = handle_ip(skb, p, AF_INET6, hook, weight, &action);
	else if (hook == HOOK_UPLINK_INGRESS && skb->protocol == bpf_htons(ETH_P_ARP))
		verdict = answer_arp(skb);
	if (p->fragment == FRAGMENT_FIRST)
		first_has_passed(skb->protocol == bpf_htons(ETH_P_IP) ? AF_INET : AF_INET6, verdict);
	if (is_answer(verdict))
		action = send_back(skb, hook);
	else if (is_drop(verdict) || verdict == VERDICT_HELD)
		action = TC_ACT_SHOT;
	return end(skb, p, hook, verdict, weight, action);
}

SEC("tc")
int uplink_ingress(struct __sk_buff *skb)
{
	return process(skb, HOOK_UPLINK_INGRESS);
}

SEC("tc")
int uplink_egress(struct __sk_buff *skb)
{
	return process(skb, HOOK_UPLINK_EGRESS);
}

SEC("tc")
int local_egress(struct __sk_buff *skb)
{
	return process(skb, HOOK_LOCAL_EGRESS);
}

SEC("tc")
int pod_ingress(struct __sk_buff *skb)
{
	return process(skb, HOOK_POD_INGRESS);
}
