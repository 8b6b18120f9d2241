// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What PROG_RUN shows of programs that do (nearly) nothing: every other figure holds this much of the harness.
 *
 * And of one that looks a flow up, and nothing more, in a table like Katran's (LRU, keys of 40 octets, values of 16,
 * one entry a flow): what many flows cost beyond one, a memory access costs that no such program can spare.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int nothing(struct __sk_buff *skb)
{
	return 0;
}

/* Ethernet, IPv4 and TCP headers are read; the result depends on them. */
SEC("tc")
int parse(struct __sk_buff *skb)
{
	struct ethhdr *eth = (void *)(long)skb->data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > (void *)(long)skb->data_end)
		return 2;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_TCP || ip->ihl != 5)
		return 2;
	return tcp->source == tcp->dest && ip->saddr == ip->daddr ? 2 : 0;
}

struct look_up_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 pad[3];
};

struct look_up_value {
	__be32 daddr; /* where the packet is sent on to: the next flow's */
	__be16 dport;
	__u16 pad;
	__u64 seen;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 22);
	__type(key, struct look_up_key);
	__type(value, struct look_up_value);
} look_up_table SEC(".maps");

SEC("tc")
int look_up(struct __sk_buff *skb)
{
	struct ethhdr *eth = (void *)(long)skb->data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct look_up_key key = {};
	struct look_up_value *to;

	if ((void *)(tcp + 1) > (void *)(long)skb->data_end)
		return 2;
	key.saddr[0] = ip->saddr;
	key.daddr[0] = ip->daddr;
	key.sport = tcp->source;
	key.dport = tcp->dest;
	key.protocol = ip->protocol;
	to = bpf_map_lookup_elem(&look_up_table, &key);
	if (!to)
		return 2;
	ip->daddr = to->daddr;
	tcp->dest = to->dport;
	return 0;
}
