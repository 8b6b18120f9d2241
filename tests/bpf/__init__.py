"""The programs of bpf/, packet by packet, through BPF_PROG_TEST_RUN (and a tap where that cannot reach)."""
