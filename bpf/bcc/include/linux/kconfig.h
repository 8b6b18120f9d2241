/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Nothing: see linux/types.h here. */
