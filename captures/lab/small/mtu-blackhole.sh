#!/bin/bash
# A speaker (AS64501, 256 prefixes in one UPDATE), a router that drops what is longer than 600 octets without a word, a receiver (AS64502);
# BIRD on both ends, hold time 9 s. Recorded at both ends for 50 s. Run as root in an empty directory.
set -e
for n in a m b; do ip netns add small-$n; ip -n small-$n link set lo up; done
trap 'for n in a m b; do ip netns del small-$n; done' EXIT
ip link add name kam netns small-a type veth peer name kma netns small-m
ip link add name kbm netns small-b type veth peer name kmb netns small-m
ip -n small-a addr add 192.0.2.1/30 dev kam; ip -n small-m addr add 192.0.2.2/30 dev kma
ip -n small-b addr add 192.0.2.5/30 dev kbm; ip -n small-m addr add 192.0.2.6/30 dev kmb
for x in "a kam" "m kma" "m kmb" "b kbm"; do set -- $x; ip -n small-$1 link set $2 up; done
ip -n small-a route add default via 192.0.2.2; ip -n small-b route add default via 192.0.2.6
ip netns exec small-m sysctl -qw net.ipv4.ip_forward=1
ip -n small-a link set kam gso_max_segs 1
cat > a.conf <<C
router id 192.0.2.1;
protocol device {}
protocol static { ipv4;
$(for i in $(seq 0 255); do echo "route 198.18.$i.0/24 blackhole;"; done)
}
protocol bgp b { local 192.0.2.1 as 64501; neighbor 192.0.2.5 as 64502; multihop; hold time 9; connect retry time 2;
 connect delay time 1; error wait time 2, 4; error forget time 5; ipv4 { import all; export where net.len = 24; }; }
C
cat > b.conf <<C
router id 192.0.2.5;
protocol device {}
protocol bgp a { local 192.0.2.5 as 64502; neighbor 192.0.2.1 as 64501; multihop; passive on; hold time 9;
 error wait time 2, 4; error forget time 5; ipv4 { import all; export none; }; }
C
ip netns exec small-m nft -f - <<N
table ip lab {
 chain f {
  type filter hook forward priority 0;
  iifname "kma" meta length > 600 drop
 }
}
N
ip netns exec small-a dumpcap -q -i kam -w a.pcapng -a duration:50 & D1=$!
ip netns exec small-b dumpcap -q -i kbm -w b.pcapng -a duration:50 & D2=$!
sleep 1
ip netns exec small-b bird -f -c b.conf -s b.ctl & B=$!
ip netns exec small-a bird -f -c a.conf -s a.ctl & A=$!
wait $D1 $D2 || true
kill $A $B; wait || true
