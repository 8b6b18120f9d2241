#!/bin/sh
# Installs the Debian packages named in the files given as arguments; without any, those in tools/packages.txt.
#
# Decides: which packages are missing, and that nothing of the distribution starts because of us.
# Rules:
#   - Silent and without the network when everything is there.
#   - No service starts, now or at the next boot: apt runs in a mount namespace of its own where policy-rc.d says no
#     (the file outside is never changed, so a run that dies leaves nothing to put back), and the units of services
#     that were not there before are disabled.
#   - Works again after a run that died: dpkg finishes first what it had begun.
# Must never: touch a service that the user had already; remove a package.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
policy=/usr/sbin/policy-rc.d

[ $# -gt 0 ] || set -- "$here/packages.txt"
wanted=$(cat "$@" | sed -e 's/#.*//' | tr -s ' \t\n' ' ')

missing=
for package in $wanted; do
	status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
	[ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "error: these Debian packages are missing, and only root can install them:$missing" >&2
	exit 1
fi
if [ "${PENSTOCK_DEPS_INSIDE:-}" != 1 ]; then
	# A mount needs something to be mounted on; an empty policy that permits everything changes nothing.
	[ -e "$policy" ] || { printf '#!/bin/sh\nexit 0\n' >"$policy" && chmod 755 "$policy"; }
	exec env PENSTOCK_DEPS_INSIDE=1 unshare --mount --propagation private -- sh "$here/deps.sh" "$@"
fi

refuse=$(mktemp /tmp/penstock-policy.XXXXXX)
printf '#!/bin/sh\nexit 101\n' >"$refuse"
chmod 755 "$refuse"
mount --bind "$refuse" "$policy"
log=$refuse.log
trap 'umount "$policy"; rm -f "$refuse" "$log"' EXIT

# Says nothing unless it fails.
quietly() {
	"$@" >"$log" 2>&1 || { cat "$log" >&2; echo "error: $*" >&2; exit 1; }
}

services() {
	ls /lib/systemd/system /etc/init.d 2>/dev/null | grep -E '^[^/@]+(\.service)?$' | sed -e 's/\.service$//' | sort -u
}
before=$(services)

export DEBIAN_FRONTEND=noninteractive
apt="apt-get -qq -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o APT::Install-Recommends=false"
echo "installing from Debian:$missing"
quietly dpkg --configure -a
# shellcheck disable=SC2086 # both are lists of words
{
	quietly $apt update
	quietly $apt install -y $missing
}

for service in $(services); do
	case "
$before
" in *"
$service
"*) ;;
	*) [ ! -e "/etc/init.d/$service" ] || update-rc.d "$service" disable >/dev/null 2>&1 || true
		[ ! -d /run/systemd/system ] || systemctl -q disable "$service" >/dev/null 2>&1 || true ;;
	esac
done
