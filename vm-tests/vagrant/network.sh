# The private network: sourced by each role's script with the machine's addresses in it as arguments.
# Vagrant gives the interface its IPv4 address; IPv6 is for us to add. Its name is the box's affair.

ipv4=$1 ipv6=$2
interface=$(ip -o -4 address show | awk -v prefix="$ipv4/" 'index($4, prefix) == 1 { print $2 }')
[ -n "$interface" ] || { echo "error: no interface has $ipv4" >&2; exit 1; }
ip -6 address replace "$ipv6/64" dev "$interface" nodad
