/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every struct of a pinned map that the agent reads or writes, and every enum that it shares with the kernel side.
 *
 * Decides: the layout of those maps' keys and values, the verdicts, the drop reasons, the states.
 * Rules:
 *   - It reaches Python through BTF: names here are the names in `bpftool map dump`; metrics and tables use them in
 *     lower case. (agent/compile, which is pure, repeats the few numbers it needs; a test compares them.) Of the other
 *     headers only packet.h does: bcc compiles it for `penstock trace`, which reads packets by the BTF of it.
 *   - What the programs alone write is declared where it is used, and its maps are pinned as well (maps.h says why):
 *     in fragment.h, pair.h, parse.h and reset.h (a packet each), reject.h, snat.h, age.bpf.c.
 *   - Addresses are octets in wire order (IPv4 in the first four of sixteen, the rest zero); ports, lengths and counts
 *     are host order, so a dump reads as a person writes them. Times are seconds since boot (CLOCK_MONOTONIC) where
 *     nothing else is said.
 *   - Padding is explicit and zero: keys are hashed byte by byte.
 *   - An upgrade carries over what the tables hold by the names of members and enumerators: those may be added, moved,
 *     widened, renumbered and dropped. So a name keeps its meaning; what means something else gets another name.
 *     (DROP_* stay behind all that are no drops, and VERDICT_REJECTED_RST ... VERDICT_PING, our answers, together.)
 * Must never: renumber an enum whose values stand in an integer (flow_state, flow_flag, gateway_flag, policy_flag,
 * promotion) or are ids (backend_id), for BTF does not tell of those; change struct in_force, which two versions read
 * at once; hold a pointer, a bit field or a function.
 */
#ifndef PENSTOCK_ABI_H
#define PENSTOCK_ABI_H

#include <linux/types.h>

enum limits {
	/* Slots of one pool: prime (Maglev needs it), and a constant, since changing it remaps nearly everything. */
	POOL_SLOTS = 4093,
	SOURCE_SLOTS = 16,	/* of a bucket in source_connections; a power of two */
	SOURCE_COUNT_BITS = 24, /* of a slot; never another number, for slots are carried over as they are */
};

/* Reserved backend ids. Id 0 is an empty slot: seeing one is a defect and is counted as such. */
enum backend_id {
	BACKEND_NONE = 0,
	BACKEND_REJECT = 1,
	BACKEND_FIRST = 2,
};

/* Where a program sits. Every packet that a program sees is counted once under its hook; XDP's counts its own alone. */
enum hook {
	HOOK_UPLINK_INGRESS = 0, /* on the client-facing interfaces: from clients, and from backends out there */
	HOOK_UPLINK_EGRESS = 1,	 /* towards clients, on the same interfaces */
	/* Routed into the gateway's own interface: node and pods as clients; replies to the gateway's address. */
	HOOK_LOCAL_EGRESS = 2,
	HOOK_POD_INGRESS = 3, /* from pods, on the node's end of a pod's interface (redirect delivery only) */
	HOOK_UPLINK_XDP = 4, /* before uplink ingress: what XDP ends itself; what it passes on is counted there alone */
	HOOK_COUNT = 5,
};

/*
 * What became of a packet. Each packet at each hook ends in exactly one of these. DROP_* are drops; DROP_x is what
 * should have had the answer REFUSED_x and got none.
 */
enum verdict {
	VERDICT_NOT_OURS = 0,		/* passed on untouched */
	VERDICT_FORWARDED = 1,		/* request, rewritten, on its way to a backend */
	VERDICT_REPLIED = 2,		/* reply, rewritten, on its way to a client */
	VERDICT_REDIRECTED = 3,		/* seen again on its way out after our own redirect */
	VERDICT_REJECTED_RST = 4,	/* answered with a TCP reset: no listener, no backend, or its backend is gone */
	VERDICT_REJECTED_ICMP = 5,	/* answered with an ICMP error: no listener */
	VERDICT_REFUSED_TABLE_FULL = 6, /* new flow answered with a TCP reset: the flow table has no room */
	VERDICT_REFUSED_COLLISION = 7,	/* ... no reply tuple is free for it */
	VERDICT_REFUSED_MIDSTREAM = 8,	/* answered with a TCP reset: of a stream whose flow and port nobody knows */
	VERDICT_REFUSED_DENIED = 9,	/* ... with a reset or an ICMP error: a policy denies its source */
	VERDICT_REFUSED_LIMITED = 10,	/* ... with a TCP reset: listener, or source, has as many as a policy allows */
	VERDICT_TOO_BIG = 11,		/* answered with an ICMP error: larger than its way on, either way */
	VERDICT_NEIGHBOUR = 12,		/* ARP or NDP for a gateway address, answered */
	VERDICT_PING = 13,		/* echo request to a gateway address, answered */
	VERDICT_RELATED = 14,		/* ICMP error about a flow, rewritten, on its way to the end that it concerns */
	VERDICT_HELD = 15,		/* UDP fragment, kept until its datagram's first comes; seen again */
	VERDICT_RESET_LIMITED = 16,	/* as REFUSED_LIMITED when a handshake ends: to its backend as a TCP reset */
	DROP_MALFORMED = 17,		/* truncated or inconsistent header, addressed to a gateway */
	DROP_FRAGMENT = 18,		/* not of UDP; of UDP: overlaps, has no flow, or no room to wait */
	DROP_PROTOCOL = 19,		/* neither TCP nor UDP nor echo, addressed to a gateway */
	DROP_REJECT_SHARE = 20,		/* UDP in the weight share of a backendRef that cannot be served */
	DROP_NO_BACKEND = 21,		/* listener without a pool, or an empty slot: a defect of the control plane */
	DROP_RATE_LIMITED = 22,		/* would have been answered with RST or ICMP, but the limit was reached */
	DROP_TABLE_FULL = 23,		/* as REFUSED_TABLE_FULL, but nothing could be answered */
	DROP_COLLISION = 24,		/* as REFUSED_COLLISION, but nothing could be answered */
	DROP_MIDSTREAM = 25,		/* as REFUSED_MIDSTREAM, but nothing could be answered */
	DROP_DENIED = 26,		/* new flow whose source a policy denies, that is not or cannot be answered */
	DROP_LIMITED = 27,		/* as REFUSED_LIMITED, but nothing could be answered */
	DROP_NO_FLOW = 28,		/* of no flow; no answer can be made, or none is due (late reply, stray RST) */
	DROP_MARTIAN = 29,		/* would begin a flow, but its source is a gateway address */
	DROP_MOVING = 30,		/* would begin or promote a flow while an upgrade moves the flows */
	DROP_INTERNAL = 31,		/* a kernel helper failed */
	VERDICT_COUNT = 32,
};

enum delivery {
	DELIVERY_STACK = 0,
	DELIVERY_REDIRECT = 1,
};

/* ---- What the agent writes -------------------------------------------------------------------------------------- */

/*
 * in_force: one element, shared by all sets. A set is what is pinned in one folder v<N>: tables, and the programs that
 * were loaded with N and use them. While one set takes the other's place both are hooked, and this says which one acts.
 */
struct in_force {
	__u32 set;	    /* N */
	__u32 moving_until; /* seconds since boot; before that none begins or is promoted, and no TCP flow ends */
};

struct address {
	__u8 octets[16];
};

/* interfaces: ifindex -> what the programs must know of it. */
enum interface_role {
	INTERFACE_UPLINK = 1, /* clients are behind it, and backends that are not on this node */
	INTERFACE_LOCAL = 2,  /* the gateway's own interface */
	INTERFACE_POD = 3,    /* its hook is on: replies pass it, so requests may be redirected past the stack */
};

struct interface {
	enum interface_role role;
	__u8 mac[6];
	__u8 snat_sources4; /* how many entries of snat_sources it has, by family */
	__u8 snat_sources6;
	__u8 has_xdp; /* our XDP program is on it, and its driver takes what XDP redirects from others */
	__u8 pad[3];
};

/* snat_sources: uplink, family and number -> an address of the node's own that backends out there may see. */
struct snat_key {
	__u32 ifindex;
	__u16 family; /* AF_INET or AF_INET6 */
	__u16 number;
};

/*
 * symmetric: backends out there whose replies to any client pass this node all the same, so that they see the client.
 * route_mtus: what is sent there may be no longer than that; 0: than its interface says. bpf_fib_lookup knows a route's
 *   MTU only if it is locked, the stack goes by any.
 */
struct network {
	__u32 prefix; /* bits that count of all that follows: 32 for the family, and those of the address */
	__u32 family;
	struct address address;
};

/* gateways: address -> how far it is ours. */
enum gateway_flag {
	/* The node's own address: ARP, ping and ports without a listener stay the kernel's. */
	GATEWAY_NODE_ADDRESS = 1,
};

struct gateway {
	__u32 flags; /* enum gateway_flag */
};

/* listeners: address, port, protocol -> pool. */
struct listener_key {
	struct address address;
	__u16 port;
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 pad;
};

struct listener {
	__u32 listener_id; /* index into listener_counts */
	__u32 pool_id;	   /* index into pools */
	__u32 policy_id;   /* index into policies; 0: new flows are asked for nothing */
};

/* policies: policy_id -> what new flows are asked for. An element never changes while a listener leads to it. */
enum policy_flag {
	POLICY_IN_USE = 1,
	POLICY_SOURCES = 2,    /* table source_ranges has some for it */
	POLICY_ALLOW_ONLY = 4, /* a source that no range holds is denied */
	POLICY_REJECT = 8,     /* what is denied is answered */
	POLICY_AFFINITY = 16,  /* the source alone chooses the backend */
};

struct policy {
	__u32 flags;	/* enum policy_flag */
	__u32 idle_tcp; /* seconds without a packet after which a flow is forgotten; 0: the node's limit */
	__u32 idle_udp;
	__u8 affinity4; /* leading bits of the source that choose, by family */
	__u8 affinity6;
	__u16 pad;
	__u32 per_listener; /* TCP connections that its listener may have at a time; 0: any number */
	__u32 per_source;   /* ... that one source may have there */
	__u8 source4;	    /* leading bits of an address that are one source to per_source, by family */
	__u8 source6;
	__u16 pad2;
};

/* source_ranges: network of clients -> may they begin flows? The longest prefix decides. */
enum source_rule {
	SOURCE_ALLOWED = 1,
	SOURCE_DENIED = 2,
};

struct source_range_key {
	__u32 prefix; /* bits that count of all that follows: 64 for policy and family, and those of the address */
	__u32 policy_id;
	__u32 family; /* AF_INET or AF_INET6 */
	struct address address;
};

struct source_range {
	enum source_rule rule;
};

/* pools: pool_id -> backend ids, by weight; hash % POOL_SLOTS picks. One pool per listener and address family. */
struct pool {
	__u32 slots[POOL_SLOTS];
};

enum backend_state {
	BACKEND_FREE = 0,
	BACKEND_ACTIVE = 1,   /* in some pool's slots */
	BACKEND_DRAINING = 2, /* no new flows; old ones, TCP and UDP, go on */
	BACKEND_ABSENT = 3,   /* in no EndpointSlice: TCP goes on, UDP chooses again */
	BACKEND_GONE = 4,     /* absent for the grace time, or reused: reset TCP at its next packet */
};

/* backends: backend_id -> endpoint. One per listener, family, backendRef and endpoint. */
struct backend {
	struct address address;
	__u16 port;
	__u16 generation; /* grows when the id goes to another endpoint; a flow that holds an older one finds it GONE */
	enum backend_state state;
	__u32 listener_id;
	__u16 ref; /* position of its backendRef in the rule, for people */
	__u16 pad;
};

/* ---- What the programs write ------------------------------------------------------------------------------------ */

/* verdicts: hook * VERDICT_COUNT + verdict. The agent fills the two names in once so that a dump reads well. */
struct verdict_count {
	enum hook hook;
	enum verdict verdict;
	__u64 packets; /* GSO segments, as the wire will see them */
	__u64 bytes;   /* from the network header on */
};

struct listener_count {
	__u64 connections; /* flows given to a backend; TCP: those that became established */
	__u64 rejected;	   /* new flows in the share of REJECT */
	__u64 refused;	   /* new flows refused: table full, collision */
	__u64 denied;	   /* packets that would have begun one, from a source that a policy denies */
	__u64 limited;	   /* ... or at its handshake's end: its listener, or its source there, is at its limit */
	__u64 uncounted;   /* handshakes that ended while the table had no room to count them at their source */
};

/*
 * listener_connections: open TCP connections that began under a policy with a limit. Each counts until both ends have
 * said FIN, or it is removed: one that was reset counts while it rests.
 */
struct listener_connections {
	__s64 open;
};

/*
 * source_connections: what sources with a limit have open (source.h). A slot is its source's mark <<
 * SOURCE_COUNT_BITS | connections; 0: nobody's. A mark, m of 2^k (k = 64 - SOURCE_COUNT_BITS), is in bucket m *
 * buckets >> k.
 */
struct source_bucket {
	__u64 slots[SOURCE_SLOTS];
};

/* source_seed: one element; what marks are made with (source_mark.h), drawn at random when first needed. */
struct source_seed {
	__u64 multipliers[5];
};

struct backend_count {
	__u64 connections;
	__u64 request_packets;
	__u64 request_bytes;
	__u64 reply_packets;
	__u64 reply_bytes;
};

/* A packet's own addresses: the key of tcp_flows4, half_open4, udp_flows4 ... */
struct tuple4 {
	__u8 saddr[4];
	__u8 daddr[4];
	__u16 sport;
	__u16 dport;
	__u8 protocol;
	__u8 pad;
	__u16 zone; /* address zone: 0 until overlapping pod networks are supported */
};

/* ... and of tcp_flows6, half_open6, udp_flows6. */
struct tuple6 {
	__u8 saddr[16];
	__u8 daddr[16];
	__u16 sport;
	__u16 dport;
	__u8 protocol;
	__u8 pad;
	__u16 zone;
};

enum flow_state {
	FLOW_SYN = 1,	       /* half-open: the client's SYN was seen */
	FLOW_SYN_ACK = 2,      /* half-open: the backend agreed */
	FLOW_ADOPTED = 3,      /* half-open: met in mid-stream, chosen again by hash */
	FLOW_ADOPTED_BOTH = 4, /* half-open: ... and the backend knows the connection */
	FLOW_ESTABLISHED = 5,
	FLOW_CLOSING = 6, /* one FIN: long-lived while the other direction goes on */
	FLOW_CLOSED = 7,  /* FIN both ways: rests while an end may hold TIME_WAIT */
	FLOW_RESET = 8,	  /* an RST passed; revived if its sender goes on */
	FLOW_UDP = 9,
};

enum flow_flag {
	FLOW_REPLY = 1,	    /* this entry is of the direction backend -> client */
	FLOW_SNAT = 2,	    /* the backend sees the gateway's address or the node's, and a port of ours */
	FLOW_FIN = 4,	    /* a FIN passed in this direction */
	FLOW_RST = 8,	    /* an RST passed in this direction */
	FLOW_REDIRECT = 16, /* both directions go past the stack */
	FLOW_EARLY = 32,    /* the backend took data with the SYN (RFC 7413) and may answer before the handshake ends */
	FLOW_REMOTE = 64,   /* the backend is behind an uplink: its replies come in there */
	/* In the reply's entry: the backend's FIN came first, or crossed the client's, so it holds TIME_WAIT. */
	FLOW_BACKEND_FIRST = 128,
};

/* What stands in `counted_at` of a half-open request: nothing counts it yet. */
enum promotion {
	PROMOTION_NONE,
	PROMOTION_GOES_ON, /* by a CPU */
	PROMOTION_REFUSED, /* for good: its backend may have been told by now */
};

/* Cached way out of this node; the data path looks it up again when it has expired. */
struct nexthop {
	__u32 ifindex;
	__u32 expires; /* seconds since boot */
	__u8 dmac[6];
	__u8 smac[6];
	__u16 mtu;
	__u16 neighbour; /* a mix of its address: of those with one MAC each is another neighbour */
};

/*
 * One direction of a flow: what the packet is rewritten into. The twin (the other direction's entry) has for key
 * the reverse of that: {to_daddr, to_saddr, to_dport, to_sport}; both carry the same generation. Half a pair
 * counts as absent.
 */
struct flow {
	/* What every packet needs, in as few cache lines as it takes: of a million flows, each is a miss. */
	__u32 generation; /* random, never 0 while valid; the same in the twin */
	__u32 key_check;  /* mix of the own key: elements are reused at once, a reader must see that it holds its own */
	struct address to_saddr;
	struct address to_daddr;
	__u16 to_sport;
	__u16 to_dport;
	__u32 backend_id;
	__u16 backend_generation;
	__u8 state;	  /* enum flow_state */
	__u8 flags;	  /* enum flow_flag */
	__u32 seen;	  /* seconds since boot, of the last packet of this direction */
	__u32 expects;	  /* TCP: the sequence number that this direction's sender acknowledged last */
	__u32 idle_limit; /* seconds, by its listener's policy when it began; 0: the node's limit of its state */
	__u64 packets;
	__u64 bytes;
	/* What most packets do not need. */
	struct nexthop nexthop;
	__u32 counted_at;   /* request half: the listener that counts it as open, or 0; half-open: enum promotion */
	__u32 source_place; /* ... 1 + the slot, of all in source_connections, that counts it; 0: none */
	__u32 isn;	    /* initial sequence number of this direction's sender; later: that of its FIN */
	__u16 early;	    /* half-open: octets of data that came with the SYN (RFC 7413) */
	__u16 zone;	    /* kept for address zones: the rewritten packet's */
};

/* ageing_tcp4 ...: where a live flow waits to be looked at again. */
struct ageing4 {
	struct tuple4 key; /* of the request direction */
	__u32 generation;  /* another one in the table means: that flow is gone */
	__u32 due;	   /* seconds since boot before which it cannot have expired */
	__u32 tick;	   /* of the sweep that saw it last: a sweep goes round once */
};

struct ageing6 {
	struct tuple6 key;
	__u32 generation;
	__u32 due;
	__u32 tick;
};

/* ageing_in_hand: for each turnstile what could not be put back into it, since others had filled it. */
struct ageing_in_hand {
	struct ageing6 v6;
	struct ageing4 v4;
	__u32 is_there;
	__u32 pad;
};

/* flow_usage: one element; live TCP flows (pairs, half-open not counted), per family. */
struct flow_usage {
	__s64 tcp4;
	__s64 tcp6;
	__u64 swept;	  /* flows looked at by ageing, since load: shows that it is alive */
	__u64 expired;	  /* ... and removed */
	__u64 last_sweep; /* nanoseconds since boot */
};

/*
 * snat_ports: one element; how new flows to backends behind an uplink find a port. Both are halved when `tries` is
 * large.
 */
struct snat_ports {
	__u64 tries; /* at random ports, of late */
	__u64 taken; /* ... that met a live flow: of all tries so many as there are ports in use */
};

#endif /* PENSTOCK_ABI_H */
