#!/bin/sh
# Makes a Debian 12 machine one where Penstock can run; with the argument `penstock`, one that has it, in /opt/penstock.
#
# Decides: what such a machine has: the packages of guest/packages.txt, as the tests' guests, and a virtual environment
# with a wheel of this checkout.
# Rules:
#   - What is there is not fetched again: where packages and libraries are there, no network is needed.
#   - A wheel in build/wheel (`make wheel`) is taken; without one it is made here, which takes a compiler from Debian.
#   - Penstock itself is put in anew each time, for a wheel of another day may have the same version.
# Must never: start a service.
set -eu

checkout=$(cd "$(dirname "$0")/../.." && pwd)
installed=/opt/penstock
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

sh "$checkout/tools/deps.sh" "$checkout/vm-tests/guest/packages.txt"
[ "${1:-}" = penstock ] || exit 0

wheel() {
	find "$checkout/build/wheel" -name 'penstock-*.whl' 2>/dev/null
}
if [ -z "$(wheel)" ]; then
	command -v make >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get -qq install -y make >/dev/null
	make -s -C "$checkout" wheel
fi
[ -x "$installed/bin/pip" ] || python3 -m venv --system-site-packages "$installed"
"$installed/bin/pip" uninstall -qq --yes penstock
"$installed/bin/pip" install --quiet "$(wheel)"
ln -sf "$installed/bin/penstock" /usr/local/bin/penstock
