# Tests on other kernels, in virtual machines. `make test-6.1` boots Debian's 6.1; any line that vmtest/kernels.py knows
# works the same way (make test-6.12).

VM_TESTS ?= vm-tests/smoke $(wildcard tests/bpf tests/loader)

.PHONY: vm-deps
vm-deps: deps
	@sh tools/deps.sh vm-tests/packages.txt

test-6.%: vm-deps venv bpf
	@PYTHONPATH=vm-tests $(BIN)/python -m vmtest 6.$* $(VM_TESTS)
