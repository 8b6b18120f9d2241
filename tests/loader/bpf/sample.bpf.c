// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What the loader's tests load: one map of each kind, settings, programs that count and drop.
 * The same file compiled with a macro defined is the same object with another layout.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

enum colour {
	RED = 1,
#ifdef RENUMBERED
	GREEN = 3,
#else
	GREEN = 2,
#endif
#ifdef MORE_COLOURS
	BLUE = 9,
#endif
};

struct inner {
	__u8 mac[6];
#ifdef RENAMED
	__u16 size;
#else
	__u16 mtu;
#endif
};

struct record {
	__u64 count;
	enum colour colour;
#ifdef UNSIGNED
	__u32 delta;
#else
	__s32 delta;
#endif
	struct inner inner;
	__u16 list[3];
	__u8 flag;
	__u8 pad;
#ifdef GROWN
	__u64 extra;
#endif
};

struct pair {
	struct inner ends[2];
};

#ifdef HASH_TO_LRU
#define TABLE_TYPE BPF_MAP_TYPE_LRU_HASH
#else
#define TABLE_TYPE BPF_MAP_TYPE_HASH
#endif

struct {
	__uint(type, TABLE_TYPE);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct record);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, struct pair);
} pairs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 2);
	__type(value, struct inner);
} waiting SEC(".maps");

/* A kind for which the kernel has no batch operations. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 8);
	__uint(key_size, 4);
	__uint(value_size, 4);
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} guests SEC(".maps");

const volatile __u32 answer = 42;
const volatile __s16 offset = -1;
__u32 seen; /* .bss: the object's own, never pinned */

static __always_inline void count(__u32 at)
{
	__u32 *n = bpf_map_lookup_elem(&counts, &at);

	if (n)
		(*n)++;
}

/* Counts, and leaves the packet to the next program. */
SEC("tc")
int count_first(struct __sk_buff *skb)
{
	seen++;
	count(0);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int count_second(struct __sk_buff *skb)
{
	count(1);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int drop_all(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

SEC("tc")
int tell_settings(struct __sk_buff *skb)
{
	return answer + offset;
}

/* Writes its CPU into the mark and the first octet of the packet. */
SEC("tc")
int tell_cpu(struct __sk_buff *skb)
{
	__u8 octet = bpf_get_smp_processor_id();

	skb->mark++;
	bpf_skb_store_bytes(skb, 0, &octet, 1, 0);
	return octet;
}

/* TC_ACT_PIPE, unless a guest says otherwise. */
SEC("tc")
int ask_guest(struct __sk_buff *skb)
{
	bpf_tail_call_static(skb, &guests, 0);
	return TC_ACT_PIPE;
}
