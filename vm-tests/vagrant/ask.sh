#!/bin/sh
# Asks the gateway COUNT times by each family, a connection each, and says who answered how often: ask.sh COUNT.
set -eu

for gateway in 192.168.61.10 '[fd00:61::10]'; do
	for _ in $(seq "$1"); do
		curl -sS --max-time 10 "http://$gateway/" || echo "nobody, "
	done | awk -F, -v gateway="$gateway" '{ count[$1]++ }
		END { for (name in count) printf "%s answered for %s: %d times\n", name, gateway, count[name] }' | sort
done
