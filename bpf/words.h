/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Addresses as machine words.
 * abi.h declares addresses as octets, for people; the programs move them as 32-bit words. may_alias keeps that legal C,
 * and every place it is used on is at least 4-byte aligned (the verifier would refuse it otherwise).
 *
 * Decides: how addresses are moved and compared.
 * Must never: be given an address that is not aligned to 4 octets.
 */
#ifndef PENSTOCK_WORDS_H
#define PENSTOCK_WORDS_H

#include <linux/types.h>

typedef __u32 __attribute__((may_alias)) word;

#define WORD(address, i) (((word *)(address))[i])

/* The words of an address: 1 (IPv4) or 4 (IPv6). */
static __always_inline void copy_words(void *to, const void *from, int words)
{
	for (int i = 0; i < words; i++)
		WORD(to, i) = WORD(from, i);
}

static __always_inline int equal_words(const void *a, const void *b, int words)
{
	__u32 different = 0;

	for (int i = 0; i < words; i++)
		different |= WORD(a, i) ^ WORD(b, i);
	return !different;
}

#endif /* PENSTOCK_WORDS_H */
