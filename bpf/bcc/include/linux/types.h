/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What bcc 0.26 asks of a kernel's headers, for programs that know nothing of the kernel but its BPF interface.
 * bcc includes six of them in whatever it compiles, and does not start where they are missing; few nodes have them. Of
 * this one it needs the integers and three constants, of the others nothing: the interface itself it carries along.
 */
#ifndef PENSTOCK_BCC_TYPES_H
#define PENSTOCK_BCC_TYPES_H

#define CONFIG_BPF_SYSCALL 1
#define PAGE_SIZE 4096
#define NULL ((void *)0)

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u64 __aligned_u64 __attribute__((aligned(8)));
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u16 __sum16;
typedef __u32 __wsum;

typedef __s8 s8;
typedef __u8 u8;
typedef __s16 s16;
typedef __u16 u16;
typedef __s32 s32;
typedef __u32 u32;
typedef __s64 s64;
typedef __u64 u64;
typedef _Bool bool;
typedef unsigned long size_t;
typedef unsigned long uintptr_t;

#endif /* PENSTOCK_BCC_TYPES_H */
