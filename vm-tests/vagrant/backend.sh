#!/bin/sh
# A backend: backend.sh IPV4 IPV6. nginx at port 8080, which says its machine's name and who asked.
set -eu
. /vagrant/vm-tests/vagrant/network.sh

rm -f /etc/nginx/sites-enabled/default
cat >/etc/nginx/conf.d/penstock.conf <<'EOF'
server {
	listen 8080;
	listen [::]:8080;
	default_type text/plain;
	return 200 "$hostname, asked by $remote_addr\n";
}
EOF
systemctl --quiet enable nginx
systemctl restart nginx
curl -sS --max-time 10 --retry 5 --retry-connrefused "http://$ipv4:8080/"
