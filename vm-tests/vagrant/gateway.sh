#!/bin/sh
# A node with a gateway: gateway.sh IPV4 IPV6. The agent serves the folder examples/vagrant at the private network.
set -eu
. /vagrant/vm-tests/vagrant/network.sh

printf '%s\n' net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 >/etc/sysctl.d/90-penstock.conf
sysctl -q -p /etc/sysctl.d/90-penstock.conf
cat >/etc/systemd/system/penstock.service <<EOF
[Unit]
After=network-online.target
[Service]
ExecStart=/usr/local/bin/penstock run --manifests /vagrant/examples/vagrant --uplink $interface
Restart=on-failure
RestartSec=2
[Install]
WantedBy=multi-user.target
EOF
systemctl daemon-reload
systemctl --quiet enable penstock
systemctl restart penstock

# Ready is when the kernel holds what the folder asks for.
if ! curl -sS --fail --max-time 60 --retry 60 --retry-delay 1 --retry-max-time 180 --retry-all-errors \
	http://127.0.0.1:9464/readyz >/dev/null 2>&1; then
	echo "error: the agent is not ready" >&2
	journalctl --no-pager --unit penstock --lines 30 >&2
	exit 1
fi
journalctl --no-pager --output cat --unit penstock --lines 2
