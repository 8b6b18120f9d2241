# Tests on other kernels, in virtual machines. `make test-6.1` boots Debian's 6.1; any line that vmtest/kernels.py knows
# works the same way (make test-6.12). `make vm-selftest` tries the runner itself: guests that die, hang, lie.

# The packet tables once (not again with CHECKSUM_COMPLETE), without the two that run 100,000 packets and the races
# (SYNs expire in the midst): emulation is slow.
# A program that the verifier refuses fails every packet table: some failures are enough.
VM_TESTS ?= vm-tests/smoke tests/bpf tests/loader --maxfail=10 -k "not checksum-complete" \
	--ignore=tests/bpf/test_mutated.py --ignore=tests/bpf/test_promotion.py --ignore=tests/bpf/test_race.py
# All of them take some minutes; the limit is for a guest that hangs on a machine that is busy.
VM_SECONDS ?= 1800

.PHONY: vm-deps vm-selftest
vm-deps: deps
	@sh tools/deps.sh vm-tests/packages.txt

# There is no compiler in the guest: what tests load is made here.
test-6.%: vm-deps venv bpf
	@$(BIN)/python -m tests.loader.objects
	@PYTHONPATH=vm-tests $(BIN)/python -m vmtest --seconds $(VM_SECONDS) 6.$* $(VM_TESTS)

vm-selftest: vm-deps venv
	@$(BIN)/python -m pytest vm-tests/selftest
