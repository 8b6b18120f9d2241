# Tests on other kernels, in virtual machines: KVM where it was seen to work, else software emulation, which is slow.
#
#   make vm-test        packet tables, loader, network cards and a part of tests/net on each of VM_KERNELS; writes
#                       docs/kernels.md.
#                       Its parts are vm-tables, vm-nic, vm-net and vm-drop, also for one kernel after another; at once
#                       with make -j2, for a guest keeps little more than one processor busy. In emulation each takes up
#                       to half an hour on a kernel; what one has seen counts until it is run again (vm-tests/seen)
#   make vm-test-fast   of those what fits into minutes, on 6.1 and 6.12
#   make test-6.1       the packet tables on one kernel; any name works: test-6.12, test-newest
#   make kernels-table  docs/kernels.md from what was last seen on VM_KERNELS in each part
#   make budget         what the verifiers of this machine and of VM_KERNELS walk becomes tests/bpf/budget.toml
#   make vm-test-nodes  two nodes with a kernel each, behind a router that spreads clients over them
#   make vm-selftest    tries the runner itself: guests that die, hang, lie
#
# A kernel of one's own is its bzImage and its folder of modules (.ko, .ko.xz or .ko.zst), with BTF; of drivers it needs
# virtio_pci, virtio_blk, virtio_console, squashfs and overlay, built in or not:
#   make vm-test VM_KERNELS="6.1 /boot/vmlinuz-5.15.0-91-generic:/lib/modules/5.15.0-91-generic"

VM_KERNELS ?= 6.1 6.12 newest
VM_FAST_KERNELS ?= 6.1 6.12

# The packet tables once (not again with CHECKSUM_COMPLETE), without the two that run 100,000 packets and the races
# (SYNs expire in the midst): emulation is slow.
# A program that the verifier refuses fails every packet table: some failures are enough.
VM_TABLES := vm-tests/smoke tests/bpf tests/loader \
	--ignore=tests/bpf/test_mutated.py --ignore=tests/bpf/test_promotion.py --ignore=tests/bpf/test_race.py
VM_TESTS ?= $(VM_TABLES) --maxfail=10 -k "not checksum-complete"
# End to end by one way of setting up a node, `stack`: the others are tried on the developers' kernel. VM_NET=tests/net is
# all; test_upgrade and test_upgrade_remote need a compiler there.
VM_NET ?= $(addprefix tests/net/test_,reach.py refused.py neighbour.py quickstart.py killed.py)
# Of all these, what the developers' kernel is not enough for; and a thousand listeners are no kernel's concern.
VM_ONCE := not checksum-complete and not thousand and not offloads and not bridged and (not [redirect or redirect_neigh)
# A table for each concern, a client of each protocol and family, XDP in a card's driver, and an agent that is killed
# while both have flows; all that in some minutes of emulation.
VM_FAST := vm-tests/smoke tests/bpf/test_budget.py tests/bpf/test_tcp.py tests/bpf/test_udp.py tests/bpf/test_icmp.py \
	tests/bpf/test_snat.py tests/bpf/test_policy.py tests/bpf/test_xdp.py tests/loader/test_attach.py \
	tests/loader/test_features.py tests/net/test_reach.py tests/net/test_killed.py \
	vm-tests/nic/test_xdp.py::test_driver_and_gateway_count_the_same \
	-k "$(VM_ONCE) and not without_any_free_port and not accelerated and (not test_reach or backend_sees) \
	and (not test_killed or lent and TCP)"
# The limits are for a guest that hangs, on a machine that is busy.
VM_SECONDS ?= 1800
VM_WHOLE_SECONDS ?= 7200

VM_PARTS := tables nic net drop

VMTEST = PYTHONPATH=vm-tests $(BIN)/python -m vmtest

.PHONY: vm-deps vm-objects vm-test $(VM_PARTS:%=vm-%) kernels-table vm-test-fast budget vm-test-nodes vm-selftest
vm-deps: deps
	@sh tools/deps.sh vm-tests/packages.txt

# There is no compiler in the guest: what tests load is made here.
vm-objects: vm-deps venv bpf
	@$(BIN)/python -m tests.loader.objects

vm-test: $(VM_PARTS:%=vm-%)
	@$(VMTEST) --table docs/kernels.md "$(VM_KERNELS)" $(VM_PARTS)

vm-tables: TESTS := $(VM_TABLES)
vm-nic: TESTS := vm-tests/nic
vm-net: TESTS := $(VM_NET)
vm-drop: TESTS := tests/net/test_never_drop.py

# What failed here vm-test tells at its end, with the table.
$(VM_PARTS:%=vm-%): vm-%: vm-objects
	@$(VMTEST) --part $* --seconds $(VM_WHOLE_SECONDS) "$(VM_KERNELS)" $(TESTS) -k "$(VM_ONCE)" || [ $$? -le 2 ]

kernels-table: venv
	@$(VMTEST) --table docs/kernels.md "$(VM_KERNELS)" $(VM_PARTS)

vm-test-fast: vm-objects
	@$(VMTEST) --seconds $(VM_SECONDS) "$(VM_FAST_KERNELS)" $(VM_FAST)

# A test that fails for growth has left its figures all the same.
budget: vm-objects
	@$(BIN)/python -m pytest -q tests/bpf/test_budget.py -o junit_family=xunit1 --junitxml=build/budget.xml || [ $$? = 1 ]
	@$(VMTEST) --seconds $(VM_SECONDS) "$(VM_KERNELS)" tests/bpf/test_budget.py || [ $$? = 1 ]
	@$(BIN)/python -m tests.bpf.budget build/budget.xml $(foreach k,$(VM_KERNELS),build/vm/$(notdir $(k))/junit.xml)

test-6.%: vm-objects
	@$(VMTEST) --seconds $(VM_SECONDS) 6.$* $(VM_TESTS)

test-newest: vm-objects
	@$(VMTEST) --seconds $(VM_SECONDS) newest $(VM_TESTS)

# Here and in the guests all takes longer: both machines are emulated at once.
vm-test-nodes: vm-objects
	@sh tools/bpffs.sh
	@PENSTOCK_LAB_SLOWNESS=5 $(BIN)/python -m pytest vm-tests/nodes

vm-selftest: vm-deps venv
	@$(BIN)/python -m pytest vm-tests/selftest
