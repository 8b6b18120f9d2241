#!/bin/sh
# Makes sure that a BPF file system is at /sys/fs/bpf: pins must live in one.
# Must never: mount over one that is there.
set -eu

[ "$(stat -f -c %t /sys/fs/bpf)" = cafe4a11 ] && exit 0
mount -t bpf bpf /sys/fs/bpf
