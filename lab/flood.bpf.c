// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Handshakes of many clients, as fast as the programs take them: each run of `shake` makes the next segment (SYN, the
 * backend's SYN-ACK, ACK) and jumps into the program of the hook that it would come to.
 *
 * Rules: flow number N is of client address `client` + N / PORTS and port FIRST_PORT + N % PORTS. Checksums are left
 * out: nobody receives what comes of a test run. The frame of the run is as long as the headers.
 * Must never: be part of what is shipped.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

#define FIRST_PORT 1024
#define PORTS 32768

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2); /* of requests, of replies */
	__type(key, __u32);
	__type(value, __u32);
} hooks SEC(".maps");

struct handshakes {
	__u8 mac[6]; /* of the interface that all of it seems to come to */
	__u8 peer_mac[6];
	__u8 client[16];
	__u8 gateway[16];
	__u8 backend[16];
	__u16 gateway_port;
	__u16 backend_port;
	__u32 pad;
	__u64 segments; /* made so far */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct handshakes);
} handshakes SEC(".maps");

/* Both addresses and ports, the one way or the other. */
static __always_inline void write_ends(__u8 *source, __u8 *destination, int octets, struct tcphdr *tcp,
				       const struct handshakes *h, __u32 number, int is_reply)
{
	__be16 client_port = bpf_htons(FIRST_PORT + number % PORTS);
	__u8 *client = is_reply ? destination : source;

	if (octets == 4) {
		__builtin_memcpy(client, h->client, 4);
		__builtin_memcpy(is_reply ? source : destination, is_reply ? h->backend : h->gateway, 4);
	} else {
		__builtin_memcpy(client, h->client, 16);
		__builtin_memcpy(is_reply ? source : destination, is_reply ? h->backend : h->gateway, 16);
	}
	client[octets - 1] += number / PORTS;
	tcp->source = is_reply ? bpf_htons(h->backend_port) : client_port;
	tcp->dest = is_reply ? client_port : bpf_htons(h->gateway_port);
}

SEC("tc")
int shake(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 zero = 0, number, step;
	struct handshakes *h = bpf_map_lookup_elem(&handshakes, &zero);
	struct ethhdr *eth = data;
	struct tcphdr *tcp;

	if (!h || data + sizeof(*eth) + sizeof(struct iphdr) + sizeof(*tcp) > end)
		return TC_ACT_SHOT;
	number = h->segments / 3;
	step = h->segments % 3;
	h->segments++;
	__builtin_memcpy(eth->h_dest, h->mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, h->peer_mac, ETH_ALEN);
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + sizeof(*eth);

		tcp = (void *)(ip + 1);
		*ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP};
		ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*tcp));
		*tcp = (struct tcphdr){.doff = 5};
		write_ends((__u8 *)&ip->saddr, (__u8 *)&ip->daddr, 4, tcp, h, number, step == 1);
	} else {
		struct ipv6hdr *ip = data + sizeof(*eth);

		tcp = (void *)(ip + 1);
		if ((void *)(tcp + 1) > end)
			return TC_ACT_SHOT;
		*ip = (struct ipv6hdr){.version = 6, .hop_limit = 64, .nexthdr = IPPROTO_TCP};
		ip->payload_len = bpf_htons(sizeof(*tcp));
		*tcp = (struct tcphdr){.doff = 5};
		write_ends((__u8 *)&ip->saddr, (__u8 *)&ip->daddr, 16, tcp, h, number, step == 1);
	}
	tcp->syn = step < 2;
	tcp->ack = step > 0;
	tcp->seq = bpf_htonl(step == 1 ? 500 : step == 0 ? 100 : 101);
	tcp->ack_seq = bpf_htonl(step == 0 ? 0 : step == 1 ? 101 : 501);
	skb->mark = 0;
	bpf_tail_call(skb, &hooks, step == 1);
	return TC_ACT_SHOT;
}
