/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Code shapes that the verifier accepts, or accepts in bearable time.
 *
 * Decides: when a function is global, and where clang must not see through.
 * Rules: what is needed for an old kernel only says which. (full_barrier() is for the CPU and not for the verifier: it
 * stands here for OPAQUE(), and is the only one that does something.)
 * Must never: change what a program does.
 */
#ifndef PENSTOCK_VERIFIER_H
#define PENSTOCK_VERIFIER_H

/*
 * A global function is verified once, by itself, instead of once per call and per state of its caller; in return the
 * verifier knows nothing of its arguments but their types: pointers must be checked, and may not be returned. Before
 * 6.2 such a pointer may not be the key or the value of a map helper either ("R2 type=mem expected=fp, ...,
 * map_value"): a function that looks something up gets its packet and its pair from the CPU's own maps instead.
 */
#define VERIFIED_ONCE __attribute__((noinline))

/* "r" keeps clang from turning a bounds check into something that the verifier cannot follow. */
#define OPAQUE(variable) asm volatile("" : "+r"(variable))

/* All that was written before is seen before anything is read after it: an atomic operation with a result is such. */
static __always_inline void full_barrier(__u32 *any)
{
	__u32 before = __sync_fetch_and_add(any, 0);

	OPAQUE(before);
}

#endif /* PENSTOCK_VERIFIER_H */
