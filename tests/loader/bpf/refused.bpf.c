// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A program that no verifier accepts: it reads a packet beyond what it checked. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} made_before SEC(".maps");

SEC("tc")
int reads_too_far(struct __sk_buff *skb)
{
	__u32 zero = 0;

	if (bpf_map_lookup_elem(&made_before, &zero))
		return *(int *)(long)skb->data;
	return 0;
}
