# make vagrant-test   a real `vagrant up` by libvirt, in namespaces of its own, emulated (12 minutes on 2 busy processors):
#                     client, gateways, backends

.PHONY: vagrant-deps vagrant-test
vagrant-deps: vm-deps
	@sh tools/deps.sh vm-tests/vagranttest/packages.txt

vagrant-test: vagrant-deps wheel
	@PYTHONPATH=vm-tests $(BIN)/python -m vagranttest
