#!/bin/sh
# The client: client.sh IPV4 IPV6. Routes to the gateway over both nodes; then it asks.
set -eu
. /vagrant/vm-tests/vagrant/network.sh

# By addresses and ports, or all that one client sends to one address takes one way.
printf '%s\n' net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1 >/etc/sysctl.d/90-penstock.conf
sysctl -q -p /etc/sysctl.d/90-penstock.conf
ip -4 route replace 192.168.61.10 nexthop via 192.168.60.21 nexthop via 192.168.60.22
ip -6 route replace fd00:61::10 nexthop via fd00:60::21 nexthop via fd00:60::22

sh /vagrant/vm-tests/vagrant/ask.sh 20
