// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Two XDP programs, told apart by what they do to a frame. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int pass_frames(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp")
int drop_frames(struct xdp_md *ctx)
{
	return XDP_DROP;
}
