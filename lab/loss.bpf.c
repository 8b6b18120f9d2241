// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A wire that loses packets and has others arrive twice: some of each thousand, chosen by a generator with a fixed seed.
 *
 * Rules: IPv4 and IPv6 only, so that ARP and neighbour discovery do not fail instead; ICMPv6 passes for that reason.
 * The second of a packet passes here once more; it is known by its mark, and passes.
 * Must never: be part of what is shipped.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 seed = 1;
const volatile __u32 lose_per_thousand = 10;
const volatile __u32 double_per_thousand = 0;
const volatile __u32 incoming = 0; /* attached to ingress */

#define SECOND 0x2 /* skb->mark of the second of a packet; another namespace does not see it */

struct count {
	__u64 seen;
	__u64 lost;
	__u64 doubled;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct count);
} count SEC(".maps");

/* splitmix64: the n-th number depends on n and the seed alone. */
static __always_inline __u64 number(__u64 n)
{
	__u64 z = (n + seed) * 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

SEC("tc")
int lose(struct __sk_buff *skb)
{
	__u32 first = 0;
	struct count *c;
	__u64 drawn;
	__u8 next;

	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_UNSPEC;
	if (skb->protocol == bpf_htons(ETH_P_IPV6) &&
	    (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &next, sizeof(next)) ||
	     next == IPPROTO_ICMPV6))
		return TC_ACT_UNSPEC;
	if (skb->mark == SECOND) {
		skb->mark = 0;
		return TC_ACT_UNSPEC;
	}
	c = bpf_map_lookup_elem(&count, &first);
	if (!c)
		return TC_ACT_UNSPEC;
	drawn = number(__sync_fetch_and_add(&c->seen, 1)) % 1000;
	if (drawn < lose_per_thousand) {
		__sync_fetch_and_add(&c->lost, 1);
		return TC_ACT_SHOT;
	}
	if (drawn < lose_per_thousand + double_per_thousand) {
		skb->mark = SECOND;
		if (!bpf_clone_redirect(skb, skb->ifindex, incoming ? BPF_F_INGRESS : 0))
			__sync_fetch_and_add(&c->doubled, 1);
		skb->mark = 0;
	}
	return TC_ACT_UNSPEC;
}
