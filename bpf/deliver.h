/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How a rewritten packet goes on.
 *
 * stack: it is handed to the kernel, which forwards it as it forwards everything.
 * redirect: a request goes straight into the pod's namespace (bpf_redirect_peer skips the backlog queue), a reply
 *   straight out of the uplink; both take one off the hop limit, which the stack would have done. Out of our own
 *   interface the stack has sent the packet, and done it.
 * Flows of backends out there go straight from uplink to uplink in both ways of delivery (outward_way says why).
 * Other SNAT flows, and what came through our own interface, enter the stack through that interface: there the
 *   gateway's address is an expected source (its route points there), and the node's own is accepted (accept_local);
 *   elsewhere both would be martians.
 *
 * Decides: which way a packet takes, by the operator's choice, its flow and its size.
 * Rules: what redirect cannot do goes by the stack: too large for the way out, hop limit spent, no way known. A packet
 *   redirected to an uplink meets our egress hook there; the mark says that it is done. Where the stack would tell
 *   itself that a packet is too large, since the node's own address is the source, we tell the client. That its hops
 *   are spent the stack tells the client of a packet that we leave as it came: its way is that to the gateway's
 *   address. (On a gateway address that is the node's own nobody does.)
 * Must never: lose a packet that the stack could still deliver.
 */
#ifndef PENSTOCK_DELIVER_H
#define PENSTOCK_DELIVER_H

#include "listener.h"
#include "reject.h"
#include "rewrite.h"
#include "way_out.h"

#ifndef TC_ACT_UNSPEC
#define TC_ACT_UNSPEC (-1) /* also TCX_NEXT: the next program, if any, sees the packet too */
#define TC_ACT_SHOT 2
#endif

enum way {
	WAY_STACK,
	WAY_LOCAL,     /* into the stack by our own interface */
	WAY_PEER,      /* into the pod's namespace */
	WAY_OUT,       /* out of the uplink, next hop known */
	WAY_NEIGHBOUR, /* out of the uplink, the kernel finds the neighbour */
	WAY_NONE,      /* leave the packet alone: another hook will see it, or the stack says that its hops are spent */
	WAY_TOO_BIG,   /* nowhere: its sender must send smaller ones */
};

/* Does the kernel find the way out itself? */
static __always_inline int is_by_stack(enum way way)
{
	return way == WAY_STACK || way == WAY_LOCAL;
}

/*
 * Past the stack; WAY_NONE: that cannot be. The kernel keeps a neighbour alive only if it is asked for it: so once a
 * second it is.
 */
VERIFIED_ONCE int redirect_way(struct __sk_buff *skb, struct flow *f, int family, int wanted)
{
	struct packet *p = this_cpu_packet();
	int expired;

	if (!p || !f)
		return WAY_NONE;
	expired = has_expired(p, f);
	if (p->hook != HOOK_LOCAL_EGRESS && !hops_left(skb, family))
		return WAY_NONE;
	if (expired)
		refresh_way(skb, f, family, wanted);
	if (!f->nexthop.ifindex || !fits(skb, p, f->nexthop.mtu))
		return WAY_NONE;
	if (wanted == INTERFACE_POD)
		return WAY_PEER;
	return expired || !knows_neighbour(&f->nexthop) ? WAY_NEIGHBOUR : WAY_OUT;
}

/* May the packet be cut on its way? IPv6's never. */
static __always_inline int may_be_fragmented(struct __sk_buff *skb, int family)
{
	struct iphdr *ip = (void *)(long)skb->data + ETH_HLEN;

	if (family == AF_INET6 || (void *)(ip + 1) > (void *)(long)skb->data_end)
		return 0;
	return !(ip->frag_off & IP_DF);
}

/* Is the packet larger than the known way out, and can its sender be told so? */
VERIFIED_ONCE int is_too_big(struct __sk_buff *skb, struct flow *f, int family)
{
	struct packet *p = this_cpu_packet();

	if (!p || !f || !f->nexthop.ifindex)
		return 0;
	return !fits(skb, p, f->nexthop.mtu) && !may_be_fragmented(skb, family) && can_be_quoted(p, family);
}

/* Can the stack say that the request's hops are spent, if it is left alone? */
VERIFIED_ONCE int is_spent_on_a_request(struct __sk_buff *skb, struct flow *f, int family)
{
	struct packet *p = this_cpu_packet();
	struct gateway *gateway;

	if (!p || !f || p->hook != HOOK_UPLINK_INGRESS || (f->flags & FLOW_REPLY) || hops_left(skb, family))
		return 0;
	gateway = gateway_of(family, &p->tuple);
	return gateway && !(gateway->flags & GATEWAY_NODE_ADDRESS);
}

/*
 * For flows of which the stack would see one direction only as what it is, the other rewritten already: its connection
 * tracking would call that invalid, and many a firewall drops what is. So both go straight out of the uplink that leads
 * to their end. The stack has what it alone can do: cut a packet that is too large, say that its hops are spent, and
 * reach clients on the node.
 */
static __always_inline enum way outward_way(struct __sk_buff *skb, struct flow *f, int family, enum way otherwise)
{
	enum way way = redirect_way(skb, f, family, INTERFACE_UPLINK);

	if (way != WAY_NONE)
		return way;
	if (is_spent_on_a_request(skb, f, family))
		return WAY_NONE;
	return is_too_big(skb, f, family) ? WAY_TOO_BIG : otherwise;
}

/* The way of a packet of flow `f` that is at `hook` (constant in each program). */
static __always_inline enum way way_of(struct __sk_buff *skb, const struct packet *p, struct flow *f, int family,
				       enum hook hook)
{
	enum way way;

	switch (hook) {
	case HOOK_LOCAL_EGRESS:
		if (f->flags & (FLOW_REMOTE | FLOW_REPLY))
			return outward_way(skb, f, family, WAY_LOCAL);
		return WAY_LOCAL;
	case HOOK_UPLINK_INGRESS:
		if (f->flags & FLOW_REMOTE)
			return outward_way(skb, f, family, f->flags & FLOW_SNAT ? WAY_LOCAL : WAY_STACK);
		if (f->flags & FLOW_SNAT)
			return WAY_LOCAL;
		if (delivery != DELIVERY_REDIRECT || !(f->flags & FLOW_REDIRECT))
			return WAY_STACK;
		way = redirect_way(skb, f, family, INTERFACE_POD);
		return way == WAY_NONE ? WAY_STACK : way;
	case HOOK_POD_INGRESS:
		if (delivery != DELIVERY_REDIRECT || !(f->flags & FLOW_REDIRECT))
			return WAY_NONE;
		return redirect_way(skb, f, family, INTERFACE_UPLINK);
	default:
		return WAY_STACK;
	}
}

/* What the way asks of the rewrite. */
static __always_inline void prepare(struct rewrite *r, enum way way, const struct flow *f, enum hook hook)
{
	r->hop = (way == WAY_PEER || way == WAY_OUT || way == WAY_NEIGHBOUR) && hook != HOOK_LOCAL_EGRESS;
	r->macs = way == WAY_OUT || way == WAY_PEER || (way == WAY_LOCAL && hook == HOOK_UPLINK_INGRESS);
	if (!r->macs)
		return;
	if (way == WAY_LOCAL) { /* to our own interface's MAC, or the stack would not take it */
		__u32 ifindex = local_ifindex;
		struct interface *local = bpf_map_lookup_elem(&interfaces, &ifindex);

		if (local) {
			__builtin_memcpy(r->dmac, local->mac, 6);
			__builtin_memcpy(r->smac, local->mac, 6);
		}
		return;
	}
	__builtin_memcpy(r->dmac, f->nexthop.dmac, 6);
	__builtin_memcpy(r->smac, f->nexthop.smac, 6);
}

/* The program's return code; the packet is rewritten already. */
static __always_inline int deliver(struct __sk_buff *skb, enum way way, __u32 ifindex)
{
	switch (way) {
	case WAY_LOCAL:
		return bpf_redirect(local_ifindex, BPF_F_INGRESS);
	case WAY_PEER:
		return bpf_redirect_peer(ifindex, 0);
	case WAY_OUT:
		skb->mark = redirect_mark;
		return bpf_redirect(ifindex, 0);
	case WAY_NEIGHBOUR:
		skb->mark = redirect_mark;
		return bpf_redirect_neigh(ifindex, 0, 0, 0);
	default:
		return TC_ACT_UNSPEC;
	}
}

/* An answer of our own goes back the way its question came. */
static __always_inline int send_back(struct __sk_buff *skb, enum hook hook)
{
	if (hook == HOOK_LOCAL_EGRESS)
		return bpf_redirect(local_ifindex, BPF_F_INGRESS);
	skb->mark = redirect_mark;
	return bpf_redirect(skb->ifindex, 0);
}

#endif /* PENSTOCK_DELIVER_H */
