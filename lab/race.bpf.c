// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Two packets on two CPUs, at the same moment: each test run waits here for the other, then jumps into its program.
 *
 * Rules: the context's cb says which program of `racers` (0), how many must have come before it starts (1), and how
 * many steps later than that (2), so that each comes first by a little, now and then. Who waits in vain starts alone.
 * Must never: be part of what is shipped.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

#define PATIENCE (1 << 20) /* steps: about eight milliseconds, longer than what a busy CPU gives to another in turn */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4); /* enum hook */
	__type(key, __u32);
	__type(value, __u32);
} racers SEC(".maps");

struct line {
	__u64 come;
	__u64 in_vain; /* waited for the other */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct line);
} starting_line SEC(".maps");

struct waiting {
	volatile __u64 *come;
	__u64 wanted;
};

static long other_is_there(__u32 step, void *context)
{
	struct waiting *waiting = context;

	return *waiting->come >= waiting->wanted;
}

static long linger(__u32 step, void *context)
{
	volatile __u32 *steps = context;

	*steps = step;
	return 0;
}

SEC("tc")
int race(struct __sk_buff *skb)
{
	__u32 zero = 0, which = skb->cb[0], later = skb->cb[2], steps = 0;
	struct line *line = bpf_map_lookup_elem(&starting_line, &zero);
	struct waiting waiting = {.wanted = skb->cb[1]};

	if (!line)
		return TC_ACT_SHOT;
	waiting.come = &line->come;
	skb->cb[0] = skb->cb[1] = skb->cb[2] = 0;
	__sync_fetch_and_add(&line->come, 1);
	if (bpf_loop(PATIENCE, other_is_there, &waiting, 0) == PATIENCE)
		__sync_fetch_and_add(&line->in_vain, 1);
	bpf_loop(later, linger, &steps, 0);
	bpf_tail_call(skb, &racers, which);
	return TC_ACT_SHOT;
}
