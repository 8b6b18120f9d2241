// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The floor of redirecting: IP packets get fixed MACs and go out of a fixed interface, nothing is looked at or counted.
 * No address changes, so the client asks the backend itself. `to_peer` goes straight into the backend's namespace.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

/* MACs as numbers whose first six octets in memory they are. */
const volatile __u32 backend_ifindex = 0, client_ifindex = 0;
const volatile __u64 backend_mac = 0, backend_end_mac = 0, client_mac = 0, client_end_mac = 0;

static __always_inline int set_macs(struct __sk_buff *skb, __u64 dmac, __u64 smac)
{
	struct ethhdr *eth = (void *)(long)skb->data;

	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return 0;
	if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		/* Neighbour discovery is the node's. */
		if ((void *)(ip + 1) > (void *)(long)skb->data_end || ip->nexthdr == IPPROTO_ICMPV6)
			return 0;
	} else if (eth->h_proto != bpf_htons(ETH_P_IP)) {
		return 0;
	}
	__builtin_memcpy(eth->h_dest, &dmac, 6);
	__builtin_memcpy(eth->h_source, &smac, 6);
	return 1;
}

SEC("tc")
int to_backend(struct __sk_buff *skb)
{
	return set_macs(skb, backend_mac, backend_end_mac) ? bpf_redirect(backend_ifindex, 0) : -1;
}

SEC("tc")
int to_peer(struct __sk_buff *skb)
{
	return set_macs(skb, backend_mac, backend_end_mac) ? bpf_redirect_peer(backend_ifindex, 0) : -1;
}

SEC("tc")
int to_client(struct __sk_buff *skb)
{
	return set_macs(skb, client_mac, client_end_mac) ? bpf_redirect(client_ifindex, 0) : -1;
}
