# make bench        Penstock next to its peers, one interleaved run; writes docs/bench.md and docs/bench.svg
# make bench-frames frames that the kernel injects, without ends; writes docs/bench-frames.md and docs/bench-frames.svg
# make vm-bench     both in a virtual machine, whose kernel has IPVS too; writes docs/bench-vm.md, docs/bench-frames-vm.md
# make bench-prog   nanoseconds per packet by PROG_RUN; writes docs/bench-prog.md
# make bench-control  from a changed object to the kernel, by the number of routes; writes docs/bench-control.md
#
# BENCH_ARGS: see `python -m bench --help`; a quick look: make bench BENCH_ARGS='--rounds 3 --seconds 0.5 --dry'

BENCH_ARGS ?=
BENCH_FRAMES_ARGS ?=
VM_BENCH_KERNEL ?= 6.12
BENCH_PROG_ARGS ?=
BENCH_CONTROL_ARGS ?=
BENCH_BPF := $(patsubst bench/%.bpf.c,build/bench/%.bpf.o,$(wildcard bench/*.bpf.c))
BENCH_ENDS := build/bench/load build/bench/serve

.PHONY: bench bench-frames vm-bench vm-bench-frames vm-bench-peers bench-prog bench-control bench-deps

bench-deps: venv
	@sh tools/deps.sh bench/packages.txt

$(VENV)/bench-installed: bench/requirements.txt $(VENV)/installed
	@$(BIN)/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

build/bench/%.bpf.o: bench/%.bpf.c Makefile
	@mkdir -p build/bench
	$(CLANG) $(BPF_CFLAGS) -c $< -o $@

$(BENCH_ENDS): build/bench/%: bench/%.c bench/endpoint.h bench/flood.h
	@mkdir -p build/bench
	$(CC) -O2 -Wall -Wextra -Werror -std=gnu11 $< -o $@

bench: bench-deps bpf $(VENV)/bench-installed
	@$(MAKE) -s --no-print-directory $(BENCH_ENDS) $(BENCH_BPF)
	@sh tools/bpffs.sh
	@$(BIN)/python -m bench $(BENCH_ARGS)

bench-frames: bench-deps bpf
	@$(MAKE) -s --no-print-directory $(BENCH_BPF)
	@sh tools/bpffs.sh
	@$(BIN)/python -m bench.frames $(BENCH_FRAMES_ARGS)

# Time is counted in instructions there, so a few short rounds say as much as many long ones; what measures in whole
# seconds (iperf3, wrk) would take an hour.
VM_BENCH = $(VMTEST).job --counted --seconds 1800 $(VM_BENCH_KERNEL)
VM_BENCH_CAME = build/vm/$(notdir $(VM_BENCH_KERNEL))

vm-bench: vm-bench-frames vm-bench-peers

vm-bench-frames: bench-deps vm-deps bpf
	@$(MAKE) -s --no-print-directory $(BENCH_BPF)
	@$(VM_BENCH) bench.frames --all --rounds 3 --frames 5000 --page /result/bench-frames-vm.md
	@cp $(VM_BENCH_CAME)/bench-frames-vm.* docs/

vm-bench-peers: bench-deps vm-deps bpf
	@$(MAKE) -s --no-print-directory $(BENCH_ENDS) $(BENCH_BPF)
	@$(VM_BENCH) bench --rounds 3 --seconds 0.05 --page /result/bench-vm.md --measures ping-pong connections \
		round-trips one-way --peers bplain bagain bstack bredir bnft bipvswrr bipvsmh
	@cp $(VM_BENCH_CAME)/bench-vm.* docs/

bench-prog: bench-deps bpf
	@$(MAKE) -s --no-print-directory $(BENCH_BPF)
	@sh tools/bpffs.sh
	@$(BIN)/python -m bench.prog $(BENCH_PROG_ARGS)

bench-control: venv bpf
	@$(BIN)/python -m bench.control $(BENCH_CONTROL_ARGS)
