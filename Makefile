# Everything a newcomer types. Each target installs what it needs and is quiet when that is there already.
#
#   make demo         real servers, real clients, split by weight in the kernel; Ctrl-C ends it (ONCE=1: checks and ends)
#   make test         all tests, as root
#   make soak         two hours of mixed traffic in fast-forward, and nothing is left of it (make test: seconds of it)
#   make vm-test      the tests on other kernels, in virtual machines (vm-test-fast: in minutes); writes docs/kernels.md
#   make budget       what the verifiers walk of each program becomes the new measure (tests/bpf/budget.toml)
#   make test-6.1     the packet tables on Debian's 6.1 kernel, in a virtual machine (also: test-6.12, test-newest)
#   make vagrant-test a real `vagrant up` by libvirt, in namespaces of its own, with emulated machines
#   make check        lint, formatting, types, layers
#   make bench        how fast it is, next to its peers
#   make bpf          the BPF objects only
#   make wheel        what is shipped, in build/wheel
#   make clean        what was built, and what a run that died left behind

# Debian's Python on purpose: bcc, for tracing, is a Debian package, and the environment sees the system's packages.

PYTHON := /usr/bin/python3
VENV   := .venv
BIN    := $(VENV)/bin

CLANG  := clang-19
CLANG_FORMAT := clang-format-19
ARCH   := $(shell uname -m)
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -std=gnu11 -Wall -Werror \
	-fdebug-prefix-map=$(CURDIR)=. -I/usr/include/$(ARCH)-linux-gnu
BPF_HEADERS := $(shell find bpf -name '*.h')
BPF_SOURCES := $(wildcard bpf/*.bpf.c lab/*.bpf.c)
BPF_OBJECTS := $(patsubst %.bpf.c,build/%.bpf.o,$(notdir $(BPF_SOURCES)))

# Two at once, each a file of tests at a time: half of them wait for the kernel's clocks, and gateways start by the
# hundred. TEST_PROCESSES=0 is one after another, in this process (for a debugger).
TEST_PROCESSES ?= 2
PYTEST_ARGS ?=

.DELETE_ON_ERROR:
.PHONY: help deps venv bpf wheel check test soak demo clean

help:
	@sed -n '1,/^$$/s/^# \?//p' Makefile

deps:
	@sh tools/deps.sh

venv: deps $(VENV)/installed

# The stamp is written last: an installation that was interrupted begins again.
$(VENV)/installed: pyproject.toml
	@[ -x $(BIN)/pip ] || { rm -rf $(VENV); $(PYTHON) -m venv --system-site-packages $(VENV); }
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

bpf: deps $(BPF_OBJECTS)

vpath %.bpf.c bpf lab
build/%.bpf.o: %.bpf.c $(BPF_HEADERS) Makefile
	@mkdir -p build
	$(CLANG) $(BPF_CFLAGS) -c $< -o $@

# setuptools would ship what an older tree had in build/lib.
wheel: venv bpf
	@rm -rf build/lib build/bdist.* build/wheel
	@$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	@rm -rf build/lib build/bdist.*
	@ls build/wheel/*.whl

check: venv
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@find bpf lab bench -name '*.[ch]' -exec $(CLANG_FORMAT) --dry-run -Werror {} +
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test: venv bpf
	@sh tools/bpffs.sh
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

soak: venv bpf
	@sh tools/bpffs.sh
	@SOAK_SECONDS=120 $(BIN)/python -m pytest tests/net/test_soak.py $(PYTEST_ARGS)

demo: venv bpf
	@sh tools/bpffs.sh
	@$(BIN)/python -m lab.demo $(if $(ONCE),--once)

clean:
	@[ ! -x $(BIN)/python ] || [ "$$(id -u)" != 0 ] || $(BIN)/python -m lab.sweep
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

-include vm-tests/vm.mk vm-tests/vagrant.mk bench/bench.mk
