// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The ends of `make bench-frames`, and the floors of what lies between them.
 *
 * Decides: what a shot is: a frame of FRAME octets, the last eight of which are MARK. Whatever else passes (the sockets
 * that opened the flow, neighbours) is the kernel's, everywhere here.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

/* Repeated in bench/frames/shot.py. */
#define FRAME 96
#define MARK 0x746f687374736e65ULL

/* For the floors: where to, as in redirect.bpf.c. */
const volatile __u32 out_ifindex = 0;
const volatile __u64 dmac = 0, smac = 0;

struct frame {
	__u64 words[FRAME / 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct frame);
} template SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} arrived SEC(".maps");

static __always_inline int is_shot(const void *data, const void *end)
{
	const struct frame *f = data;

	return (const void *)(f + 1) <= end && f->words[FRAME / 8 - 1] == MARK;
}

static __always_inline void count(void)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&arrived, &zero);

	if (n)
		(*n)++;
}

static __always_inline void set_macs(struct ethhdr *eth)
{
	__u64 to = dmac, from = smac;

	__builtin_memcpy(eth->h_dest, &to, ETH_ALEN);
	__builtin_memcpy(eth->h_source, &from, ETH_ALEN);
}

/* The kernel takes pages again as they came back, with what was made of them: all of the frame is written anew. */
SEC("xdp")
int shoot(struct xdp_md *ctx)
{
	struct frame *to = (void *)(long)ctx->data, *from;
	__u32 zero = 0;

	from = bpf_map_lookup_elem(&template, &zero);
	if (!from || (void *)(to + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	*to = *from;
	return XDP_TX;
}

SEC("xdp")
int count_xdp(struct xdp_md *ctx)
{
	if (!is_shot((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return XDP_PASS;
	count();
	return XDP_DROP;
}

SEC("tc")
int count_tc(struct __sk_buff *skb)
{
	if (!is_shot((void *)(long)skb->data, (void *)(long)skb->data_end))
		return TC_ACT_UNSPEC;
	count();
	return TC_ACT_SHOT;
}

SEC("xdp")
int redirect_xdp(struct xdp_md *ctx)
{
	if (!is_shot((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return XDP_PASS;
	set_macs((void *)(long)ctx->data);
	return bpf_redirect(out_ifindex, 0);
}

SEC("tc")
int redirect_tc(struct __sk_buff *skb)
{
	if (!is_shot((void *)(long)skb->data, (void *)(long)skb->data_end))
		return TC_ACT_UNSPEC;
	set_macs((void *)(long)skb->data);
	return bpf_redirect(out_ifindex, 0);
}

SEC("tc")
int redirect_peer_tc(struct __sk_buff *skb)
{
	if (!is_shot((void *)(long)skb->data, (void *)(long)skb->data_end))
		return TC_ACT_UNSPEC;
	set_macs((void *)(long)skb->data);
	return bpf_redirect_peer(out_ifindex, 0);
}
