/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which of two sets of programs and tables acts (abi.h), and whether flows are under way from one to the other.
 *
 * Decides: whether this program acts, and whether it may add a flow, end one or move one to another table.
 * Rules: of the programs on a hook exactly one acts, at all hooks that of the same set: one number decides, so the
 * change from one set to the next is one write, and whoever dies before or after it leaves a whole gateway. The
 * others let the packet pass uncounted. While flows move, the established ones go on as ever; what would add a flow,
 * or move one from table to table, is dropped as if the wire had lost it, and comes again. moving_until is a lease: who
 * moves the flows renews it as it goes on, and when it runs out, for its holder has died, flows begin again by
 * themselves.
 * Must never: write the table: one number, one writer.
 */
#ifndef PENSTOCK_IN_FORCE_H
#define PENSTOCK_IN_FORCE_H

#include "clock.h"
#include "maps.h"
#include "settings.h"

static __always_inline int is_in_force(void)
{
	__u32 zero = 0;
	struct in_force *now = bpf_map_lookup_elem(&in_force, &zero);

	return now && now->set == set_number;
}

static __always_inline int flows_are_moving(void)
{
	__u32 zero = 0;
	struct in_force *now = bpf_map_lookup_elem(&in_force, &zero);

	return now && now->moving_until && now_seconds() < now->moving_until;
}

#endif /* PENSTOCK_IN_FORCE_H */
