"""Tries the Vagrantfile: real machines by `vagrant up`, in namespaces of their own, from a box that is made here.

`python -m vagranttest` is the way in (`make vagrant-test`). What is kept between runs and how programs are run is
vmtest's.
"""
