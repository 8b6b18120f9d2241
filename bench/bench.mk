# make bench        Penstock next to its peers, one interleaved run; writes docs/bench.md and docs/bench.svg
# make bench-frames frames that the kernel injects, without ends; writes docs/bench-frames.md and docs/bench-frames.svg
# make bench-prog   nanoseconds per packet by PROG_RUN; writes docs/bench-prog.md
# make bench-control  from a changed object to the kernel, by the number of routes; writes docs/bench-control.md
#
# BENCH_ARGS: see `python -m bench --help`; a quick look: make bench BENCH_ARGS='--rounds 3 --seconds 0.5 --dry'

BENCH_ARGS ?=
BENCH_FRAMES_ARGS ?=
BENCH_PROG_ARGS ?=
BENCH_CONTROL_ARGS ?=
BENCH_BPF := $(patsubst bench/%.bpf.c,build/bench/%.bpf.o,$(wildcard bench/*.bpf.c))
BENCH_ENDS := build/bench/load build/bench/serve

.PHONY: bench bench-frames bench-prog bench-control bench-deps

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

bench-prog: bench-deps bpf
	@$(MAKE) -s --no-print-directory $(BENCH_BPF)
	@sh tools/bpffs.sh
	@$(BIN)/python -m bench.prog $(BENCH_PROG_ARGS)

bench-control: venv bpf
	@$(BIN)/python -m bench.control $(BENCH_CONTROL_ARGS)
