"""Runs the project's tests on other kernels, each in a virtual machine made for that run.

One concern per module: `matrix` (several kernels), `progress` and `follow` (what is seen meanwhile), `record` (what was
seen, part by part), `table` (what is written down), `trial` (one kernel), `kernels` and `debian` (which, and its
files), `rootfs` and `initramfs` (what the guest starts from), `environment` (what the virtual environment needs of the
guest), `checkout` (the project as a disk), `accelerator`, `machine` and `cables` (QEMU, bounded in time, and its
network cards), `result` (what came back), `cache` (what is kept between runs), `host` (programs of this machine). `job`
runs another module than pytest.
"""
