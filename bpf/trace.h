/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How a packet ends: it is counted, and shown to whoever traces.
 *
 * A tracer is a program in `tracers`, of the hook's own type, which is called last, by a tail call: it finds in this
 * CPU's packet what became of it, and must return its `action`. An empty slot costs nothing: the kernel turns the call
 * into a jump past it. Why not fexit, or a probe: there are kernels without kprobes, and such as refuse trampolines
 * (lockdown), that do this.
 *
 * Decides: nothing of the packet: what is left is to count and to show it.
 * Rules: `tracers` is not pinned, and the agent does not keep it open. The kernel empties a program array when no
 * process has it open any more: that is how a tracer goes with its process, however that ends.
 * Must never: cost a packet anything while nobody traces; let a tracer decide what becomes of a packet.
 */
#ifndef PENSTOCK_TRACE_H
#define PENSTOCK_TRACE_H

#include "parse.h"
#include "verdict.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tracers SEC(".maps");

/* The last thing that a program does. */
static __always_inline int end(context *ctx, struct packet *p, enum hook hook, enum verdict verdict,
			       struct weight weight, int action)
{
	count(hook, verdict, weight);
	p->verdict = verdict;
	p->packets = weight.packets;
	p->bytes = weight.bytes;
	p->action = action;
	bpf_tail_call_static(ctx, &tracers, 0);
	return action;
}

#endif /* PENSTOCK_TRACE_H */
