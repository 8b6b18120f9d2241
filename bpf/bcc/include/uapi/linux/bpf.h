/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The copy that bcc has. */
#include <linux/types.h>
#include <bcc/bpf.h>
