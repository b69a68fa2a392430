# How tools/demo measures: farwire and the kernel's transports, interleaved on one veth pair. Sourced, never run.
# shellcheck shell=bash
# shellcheck disable=SC2154  # WORK, FARWIRE, KERNEL, ROUNDS, SECONDS_EACH, TRIPS, SENT_* are set by tools/demo

B_MAC=02:00:0a:4d:00:02
B_IP=10.77.0.2
SERVER=''

# start_server NAME ARGUMENTS...: a farwire in host b, ready when its program sits on the interface.
start_server() {
    local log="$WORK/$1.log" round
    serve "$FARWIRE" "${@:2}" >"$log" 2>&1 &
    SERVER=$!
    for ((round = 0; round < 100; round++)); do
        kill -0 "$SERVER" 2>/dev/null || die "farwire ${*:2} ended at once: $(cat "$log")"
        [[ $(ip -n "fw-$LAB-b" link show eth1) != *xdp* ]] || return 0
        sleep 0.1
    done
    die "farwire ${*:2} did not attach to eth1 within 10 s: $(cat "$log")"
}

# start_kernel COMMAND...: something of the kernel's in host b.
start_kernel() {
    serve "$@" >"$WORK/kernel.log" 2>&1 &
    SERVER=$!
    sleep 0.3
    kill -0 "$SERVER" 2>/dev/null || die "$* ended at once: $(cat "$WORK/kernel.log")"
}

# In the background, so that $! is the process itself and no shell around it.
serve() { exec "$PROJECT/tools/netlab" exec --name "$LAB" b -- "$@"; }

# in_a VERB ARGUMENTS...: a farwire in host a.
in_a() { in_host a -- "$FARWIRE" "$1" -i eth1 "${@:2}"; }

stop_server() {
    [[ -n $SERVER ]] || return 0
    local round
    kill -TERM "$SERVER" 2>/dev/null || true
    for ((round = 0; round < 50; round++)); do
        kill -0 "$SERVER" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$SERVER" 2>/dev/null && warn "    process $SERVER had to be killed: SIGTERM did not end it within 5 s"
    wait "$SERVER" 2>/dev/null || true
    SERVER=''
}

# CPU seconds that a process has used so far.
cpu_of() { awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / tick }' "/proc/$1/stat"; }

# record FILE VALUE...: one line of a series, for the median later.
record() { printf '%s\n' "${*:2}" >>"$WORK/$1.series"; }

measure_goodput() {
    local round
    for ((round = 1; round <= ROUNDS; round++)); do
        say "    round $round: farwire perf, and --insecure; TCP and UDP with MTU-sized frames, TCP with offloads"
        goodput_farwire farwire
        goodput_farwire farwire-insecure --insecure
        offloads off
        goodput_kernel tcp-mtu
        goodput_kernel udp-mtu --udp --bitrate 0 --length 1472
        offloads on
        goodput_kernel tcp-offload
    done
}

# On both ends, as netlab has them: frames really MTU sized, or the 64 KB that TCP hands over in one piece on a veth.
offloads() {
    local host gro=$1
    # GRO is off on a veth unless somebody asks for it.
    [[ $1 == off ]] || gro=off
    for host in a b; do
        in_host "$host" -- ethtool -K eth1 tso "$1" gso "$1" gro "$gro" tx-udp-segmentation "$1" >/dev/null
    done
}

# goodput_farwire SERIES FLAGS...: both ends with these flags.
goodput_farwire() {
    local out="$WORK/perf.json" before after line
    start_server perf perf -i eth1 "${@:2}" server
    before=$(cpu_of "$SERVER")
    TIMEFORMAT='%U %S'
    { time in_a perf "${@:2}" --json -t "$SECONDS_EACH" "$B_MAC" >"$out" 2>"$WORK/perf.err"; } 2>"$WORK/perf.time" ||
        die "farwire perf failed: $(cat "$WORK/perf.err")"
    after=$(cpu_of "$SERVER")
    stop_server
    line=$(jq -er '"\(.goodput_bps) \(.retransmitted_packets)"' "$out") ||
        die "farwire perf --json said what this script does not understand: $(cat "$out")"
    record "$1" "$line" "$(awk -v b="$before" -v a="$after" '{ print $1 + $2 + a - b }' "$WORK/perf.time")"
}

# goodput_kernel SERIES IPERF3-ARGUMENTS...: counts what the receiver got.
goodput_kernel() {
    local out="$WORK/iperf3.json" line
    start_kernel iperf3 --server --one-off
    in_host a -- iperf3 --client "$B_IP" --time "$SECONDS_EACH" --json "${@:2}" >"$out" 2>/dev/null ||
        die "iperf3 failed: $(jq -r .error "$out")"
    stop_server
    line=$(jq -er --argjson each "$SECONDS_EACH" '.["end"] | [
            .sum_received.bits_per_second,
            (.sum_sent.retransmits // .sum_received.lost_packets),
            (.cpu_utilization_percent | .host_total + .remote_total) / 100 * $each
        ] | @tsv' "$out") ||
        die "iperf3 said what this script does not understand: $out"
    record "$1" "$line"
}

measure_latency() {
    local udp spin
    latency_farwire adaptive
    latency_farwire spin
    for udp in '' --udp; do
        for spin in '' --spin; do latency_kernel ${udp:+"$udp"} ${spin:+"$spin"}; done
    done
}

# Spinning ends get a core each; on a single core they would only take turns.
pin() { if (($(nproc) > 1)); then echo "--cpu $1"; fi; }

latency_farwire() {
    local out="$WORK/ping-$1.json" cpu
    read -ra cpu <<<"$(pin 1)"
    start_server "ping-$1" perf -i eth1 --idle "$1" "${cpu[@]}" server
    read -ra cpu <<<"$(pin 0)"
    in_a ping --idle "$1" "${cpu[@]}" --json -c "$TRIPS" -s 64 "$B_MAC" >"$out" ||
        die "farwire ping --idle $1 failed; see above"
    # Once more for the eye: farwire draws it.
    [[ $1 != spin ]] || in_a ping --idle "$1" "${cpu[@]}" -c "$TRIPS" -s 64 "$B_MAC" >"$WORK/histogram" ||
        die "farwire ping --idle $1 failed; see above"
    stop_server
    jq -c --arg name "farwire ping, $1" '{ transport: $name, rtt_us: .rtt_us }' "$out" >>"$WORK/latency"
}

latency_kernel() {
    local cpu
    read -ra cpu <<<"$(pin 1)"
    start_kernel "$KERNEL" pong "$B_IP:7007" "$@" "${cpu[@]}"
    read -ra cpu <<<"$(pin 0)"
    in_host a -- "$KERNEL" ping "$B_IP:7007" "$@" "${cpu[@]}" --json --count "$TRIPS" >"$WORK/kernel-ping.json" ||
        die "the kernel's ping failed: farwire-tools ping $*"
    stop_server
    jq -c '.transport |= "kernel " + .' "$WORK/kernel-ping.json" >>"$WORK/latency"
}

print_tables() {
    local cc
    cc=$(in_host a -- cat /proc/sys/net/ipv4/tcp_congestion_control)
    printf '\n%s over a veth pair at MTU 1500, Linux %s, %s CPU(s); medians of %s\n\n' \
        "$("$FARWIRE" --version)" "$(uname -r)" "$(nproc)" "$ROUNDS"
    printf '%-44s %12s %20s %9s %14s\n' '' 'Gbit/s' 'lowest-highest' 'CPU s/GB' 'resent or lost'
    printf '%-44s %12s %20s %9s %14s\n' "farwire send (this tree, in $SENT_S s)" "$(gbit "$SENT_BPS")" '' '' ''
    goodput_line 'farwire perf (memory to memory)' farwire
    goodput_line 'farwire perf --insecure' farwire-insecure
    goodput_line "kernel TCP $cc, MTU-sized frames" tcp-mtu
    goodput_line 'kernel UDP, MTU-sized frames, unreliable' udp-mtu
    goodput_line "kernel TCP $cc, 64 KB in one piece (offloads)" tcp-offload
    printf '(offloads: TCP hands a veth 64 KB at a time and no frame is made; on a cable the NIC would cut them)\n'
    printf '\n%-28s %9s %9s %9s %9s %9s\n' 'round trip of 64 bytes, us' p50 p90 p99 p99.9 max
    jq -r '[.transport, (.rtt_us | .p50, .p90, .p99, (.["p99.9"] // .p999 // .p99_9), .max)] | @tsv' "$WORK/latency" |
        awk -F'\t' '{ printf "%-28s %9.1f %9.1f %9.1f %9.1f %9.1f\n", $1, $2, $3, $4, $5, $6 }'
    printf '\n'
    cat "$WORK/histogram"
}

gbit() { awk -v bps="$1" 'BEGIN { printf "%.2f", bps / 1e9 }'; }

# goodput_line LABEL SERIES: median and range; the CPU seconds of both ends per 10^9 bytes of the median round.
goodput_line() {
    sort -n "$WORK/$2.series" | awk -v label="$1" -v each="$SECONDS_EACH" '
        { bps[NR] = $1; lost[NR] = $2; cpu[NR] = $3 }
        END {
            m = int((NR + 1) / 2)
            range = NR > 1 ? sprintf("%.2f-%.2f", bps[1] / 1e9, bps[NR] / 1e9) : ""
            per_gb = bps[m] > 0 ? sprintf("%.2f", cpu[m] / (bps[m] * each / 8e9)) : "-"
            printf "%-44s %12.2f %20s %9s %14d\n", label, bps[m] / 1e9, range, per_gb, lost[m]
        }'
}
