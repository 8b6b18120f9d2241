"""Nanoseconds per packet: each program run on one packet again and again by BPF_PROG_TEST_RUN, without interfaces."""
