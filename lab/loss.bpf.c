// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A wire that loses packets, has others arrive twice, and others late: some of each thousand, chosen by a generator
 * with a fixed seed.
 *
 * Rules: who sent a packet that is lost must not learn of it: of TC_ACT_SHOT on the way out he is told, and sends it
 * again at once, or gives up (a listener forgets the connection whose SYN-ACK it could not repeat, and resets it later).
 * IPv4 and IPv6 only, so that ARP and neighbour discovery do not fail instead; ICMPv6 passes for that reason.
 * The second of a packet passes here once more; it is known by its mark, and passes. One packet at a time is late, a
 * whole TCP segment on its way out (its unfinished checksum is where that of the one behind which it goes is): one to
 * three others overtake it. If none come, it is sent again by who waits for it.
 * Must never: be part of what is shipped.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 seed = 1;
const volatile __u32 lose_per_thousand = 10;
const volatile __u32 double_per_thousand = 0;
const volatile __u32 late_per_thousand = 0;
const volatile __u32 incoming = 0; /* attached to ingress */

#define PASSED 0x2 /* skb->mark of what has been here; another namespace does not see it */

struct count {
	__u64 seen;
	__u64 lost;
	__u64 doubled;
	__u64 late; /* that have arrived, behind others */
};

enum late_state { NONE_IS_LATE, LATE_IN_THE_MAKING, ONE_IS_LATE };

#define FRAME_MAX 2048 /* a power of two */

struct late {
	__u32 state; /* enum late_state; who changes it from one of the others to the second has the rest to himself */
	__u32 waits; /* for so many others */
	__u32 protocol;
	__u32 length;
	__u8 frame[FRAME_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct count);
} count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct late);
} late SEC(".maps");

/* Gone, and reported as sent. */
static __always_inline int to_nowhere(void)
{
	return bpf_redirect(0, 0);
}

/* splitmix64: the n-th number depends on n and the seed alone. */
static __always_inline __u64 number(__u64 n)
{
	__u64 z = (n + seed) * 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static __always_inline int is_tcp(struct __sk_buff *skb)
{
	__u32 at = skb->protocol == bpf_htons(ETH_P_IP) ? offsetof(struct iphdr, protocol) :
							  offsetof(struct ipv6hdr, nexthdr);
	__u8 protocol;

	return !bpf_skb_load_bytes(skb, ETH_HLEN + at, &protocol, sizeof(protocol)) && protocol == IPPROTO_TCP;
}

/* Not 0: the packet is kept, and must not be sent now. */
static __always_inline int keep(struct __sk_buff *skb, struct late *l, __u32 waits)
{
	__u32 length = skb->len;

	if (length <= ETH_HLEN || length >= FRAME_MAX || skb->gso_size)
		return 0;
	if (__sync_val_compare_and_swap(&l->state, NONE_IS_LATE, LATE_IN_THE_MAKING) != NONE_IS_LATE)
		return 0;
	if (bpf_skb_load_bytes(skb, 0, l->frame, ((length - 1) & (FRAME_MAX - 1)) + 1)) {
		l->state = NONE_IS_LATE;
		return 0;
	}
	l->length = length;
	l->protocol = skb->protocol;
	l->waits = waits;
	l->state = ONE_IS_LATE;
	return 1;
}

/* The packet goes, and 1: becomes the one that waited for it; -1: that failed. 0: it was not the last to wait for. */
static __always_inline int overtake(struct __sk_buff *skb, struct late *l)
{
	int failed;

	if (l->protocol != skb->protocol || skb->gso_size)
		return 0;
	if (__sync_fetch_and_add(&l->waits, -1) > 1)
		return 0;
	if (__sync_val_compare_and_swap(&l->state, ONE_IS_LATE, LATE_IN_THE_MAKING) != ONE_IS_LATE)
		return 0;
	skb->mark = PASSED;
	failed = bpf_clone_redirect(skb, skb->ifindex, 0);
	skb->mark = 0;
	failed = failed || bpf_skb_pull_data(skb, skb->len) || bpf_skb_change_tail(skb, l->length, 0) ||
		 bpf_skb_store_bytes(skb, 0, l->frame, ((l->length - 1) & (FRAME_MAX - 1)) + 1, 0);
	l->state = NONE_IS_LATE;
	return failed ? -1 : 1;
}

SEC("tc")
int lose(struct __sk_buff *skb)
{
	__u32 first = 0;
	struct count *c;
	struct late *l;
	__u64 drawn;
	__u8 next;

	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_UNSPEC;
	if (skb->protocol == bpf_htons(ETH_P_IPV6) &&
	    (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &next, sizeof(next)) ||
	     next == IPPROTO_ICMPV6))
		return TC_ACT_UNSPEC;
	if (skb->mark == PASSED) {
		skb->mark = 0;
		return TC_ACT_UNSPEC;
	}
	c = bpf_map_lookup_elem(&count, &first);
	if (!c)
		return TC_ACT_UNSPEC;
	drawn = number(__sync_fetch_and_add(&c->seen, 1)) % 1000;
	if (drawn < lose_per_thousand) {
		__sync_fetch_and_add(&c->lost, 1);
		return to_nowhere();
	}
	if (drawn < lose_per_thousand + double_per_thousand) {
		skb->mark = PASSED;
		if (!bpf_clone_redirect(skb, skb->ifindex, incoming ? BPF_F_INGRESS : 0))
			__sync_fetch_and_add(&c->doubled, 1);
		skb->mark = 0;
		return TC_ACT_UNSPEC;
	}
	if (incoming || !late_per_thousand || !is_tcp(skb))
		return TC_ACT_UNSPEC;
	l = bpf_map_lookup_elem(&late, &first);
	if (!l)
		return TC_ACT_UNSPEC;
	if (l->state == ONE_IS_LATE) {
		int became = overtake(skb, l);

		if (became > 0)
			__sync_fetch_and_add(&c->late, 1);
		return became < 0 ? to_nowhere() : TC_ACT_UNSPEC;
	}
	if (drawn < lose_per_thousand + double_per_thousand + late_per_thousand && keep(skb, l, 1 + drawn % 3))
		return to_nowhere();
	return TC_ACT_UNSPEC;
}
