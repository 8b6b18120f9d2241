/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* For bcc, of no kernel in particular: see linux/types.h here. */
#define LINUX_VERSION_CODE 0
#define KERNEL_VERSION(major, minor, patch) (((major) << 16) + ((minor) << 8) + (patch))
