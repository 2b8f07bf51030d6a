#!/bin/sh
# 1,000,000 route additions and as many deletions in a namespace while `flapscope live` watches: what was lost, and what it cost.
# Beside it runs a loop that only counts (netlink_count.c): the bar is 1.2 times its CPU. Needs root and cc.
# Usage: benches/netlink.sh [BINARY [ROUTES [BUFFER]]]
set -eu
bin=${1:-target/release/flapscope}
routes=${2:-1000000}
buffer=${3:-33554432}
ns=fsl-bench-$$
dir=$(mktemp -d)
trap 'kill "$pid" "$counter" 2>/dev/null || true; ip netns del "$ns" 2>/dev/null || true; rm -rf "$dir"' EXIT
pid= counter=
cc -O2 -o "$dir/count" "$(dirname "$0")/netlink_count.c"
ip netns add "$ns"
ip -n "$ns" link add v0 type veth peer name v1
ip -n "$ns" addr add 192.0.2.1/24 dev v0
ip -n "$ns" link set v1 up
ip -n "$ns" link set v0 up
awk -v n="$routes" 'BEGIN { for (i = 0; i < n; i++) printf "route add %d.%d.%d.%d/32 dev v0\n", 10 + int(i / 16777216), int(i / 65536) % 256, int(i / 256) % 256, i % 256 }' >"$dir/add"
sed 's/ add / del /' "$dir/add" >"$dir/del"
"$bin" live --netns "$ns" --format json --netlink-buffer "$buffer" >"$dir/out" 2>"$dir/err" &
pid=$!
ip netns exec "$ns" "$dir/count" "$buffer" >"$dir/counted" &
counter=$!
sleep 1
usage() { # CPU seconds (user, system) and RSS of the program
    awk '{ printf "%.2f user + %.2f system CPU-s", $14 / 100, $15 / 100 }' "/proc/$pid/stat"
    awk '/VmRSS/ { rss = $2 / 1024 } /VmHWM/ { hwm = $2 / 1024 } END { printf ", RSS %.1f MiB (peak %.1f)\n", rss, hwm }' "/proc/$pid/status"
}
echo "at rest:     $(usage)"
start=$(date +%s.%N)
ip -n "$ns" -batch "$dir/add"
echo "after adds:  $(usage)"
ip -n "$ns" -batch "$dir/del"
end=$(date +%s.%N)
sleep 4
echo "after dels:  $(usage)"
echo "ip -batch took $(echo "$end - $start" | bc) s for $((2 * routes)) changes"
# The kernel counts what a socket lost (column "Drops").
echo "drops by the kernel: $(ip netns exec "$ns" awk 'NR > 1 && $2 == 0 && $3 != 0 { n += $9 } END { print n + 0 }' /proc/net/netlink)"
kill -TERM "$counter"
wait "$counter"
echo "only counting: $(cat "$dir/counted")"
kill -TERM "$pid"
wait "$pid" || echo "exit $?"
pid=
echo "alerts: $(wc -l <"$dir/out"), gaps told: $(grep -c 'feed.gap' "$dir/out" || true)"
cat "$dir/err"
