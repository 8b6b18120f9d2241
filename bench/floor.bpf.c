// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What PROG_RUN shows of programs that do (nearly) nothing: every other figure holds this much of the harness.
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
