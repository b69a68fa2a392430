# What a boot of tools/test-zerocopy proves: reads what the guest told (tools/zerocopy/init: lines of case, key, value)
# as raw text, prints one object; every `findings` of it must be empty. Arguments: $boot (granted or refused), $kernel
# (complaints of the guest's kernel), $seconds (that the boot took).

# Each case: the mode that must be in force, what kind it is, and what it must have told beyond that.
def expected:
  if $boot == "granted" then
    [ ("zerocopy", "copy", "skb", "auto") as $asked
      | (if $asked == "auto" then "zerocopy" else $asked end) as $mode
      | ("a-b", "b-a") | {case: "\($asked)-\(.)", kind: "transfer", mode: $mode} ]
    + [ {case: "zerocopy-large", kind: "transfer", mode: "zerocopy"},
        {case: "zerocopy-insecure", kind: "transfer", mode: "zerocopy", insecure: true},
        {case: "zerocopy-both", kind: "perf", mode: "zerocopy"},
        {case: "zerocopy-short", kind: "ping", mode: "zerocopy"},
        {case: "zerocopy-restart", kind: "ping", mode: "zerocopy", kills: 3},
        {case: "copy-both", kind: "perf", mode: "copy"},
        {case: "copy-short", kind: "ping", mode: "copy"},
        {case: "copy-restart", kind: "ping", mode: "copy", kills: 3} ]
  else
    [ {case: "refused-zerocopy", kind: "refusal", mode: "none"},
      {case: "refused-auto", kind: "transfer", mode: "copy", says: "zero-copy bind refused by driver virtio_net"} ]
  end;

# All values that a case told under a key.
def told($all; $case; $key): [$all[] | select(.case == $case and .key == $key) | .value];

def numbers($lines; $pattern): [$lines[] | capture($pattern) | .n | tonumber];

# The frames that each side received, as its link says when it is closed.
def closed($lines): [$lines[] | select(test("closed; received [0-9]+ frames"))];
def received($lines): numbers(closed($lines); "received (?<n>[0-9]+) frames") | add // 0;

def unless($holds; $finding): if $holds then empty else $finding end;

# Findings of what every case must hold whose two sides ran to their end.
def common($e; $t):
  unless($t.began and $t.ended; "it did not run to its end"),
  unless($t.late == []; "the server could not be heard in time"),
  unless($t.client_status == ["0"]; "the client's exit status is \($t.client_status | join(" "))"),
  unless($t.server_status == ["0"]; "the server's exit status is \($t.server_status | join(" "))"),
  (("client", "server") as $side
    | unless($t[$side] | any(test("^AF_XDP \($e.mode) on "));
        "the \($side)'s socket is not in \($e.mode) mode: \([$t[$side][] | select(test("^(AF_XDP|farwire:)"))])")),
  unless($t.closed | length == 2; "\($t.closed | length) of 2 links were closed in order"),
  unless([$t.closed[] | test(" 0 are still with the kernel")] | all; "frames are still with the kernel: \($t.closed)"),
  unless([$t.closed[] | test(" 0 are held elsewhere")] | all; "frames are still held: \($t.closed)"),
  unless($t.received > 0; "no frame was received"),
  (if $e.mode == "zerocopy"
    then unless($t.copied == 0; "\($t.copied) frames were copied")
    else unless($t.copied == $t.received; "\($t.received) frames received, \($t.copied) copied")
   end),
  unless(($e.says == null) or all("client", "server"; $t[.] | any(test($e.says))); "nobody says: \($e.says)");

def of_transfer($e; $t):
  unless($t.sent != null and $t.sent == $t.arrived; "what arrived is not what was sent"),
  unless($t.report.files == $t.files and $t.files > 0 and $t.report.failed == 0; "not all files arrived"),
  unless(($t.report.encryption == null) == ($e.insecure == true); "encryption is \($t.report.encryption)");

def of_perf($t):
  unless($t.report.verified == true; "nothing was verified"),
  unless(all($t.report.up, $t.report.down; .bytes > 0 and .corrupt_bytes == 0);
    "bytes are missing or wrong: up \($t.report.up), down \($t.report.down)");

def of_ping($e; $t):
  unless($t.report.sent > 0 and $t.report.lost == 0 and $t.report.received == $t.report.sent;
    "\($t.report.lost) of \($t.report.sent) pings were lost"),
  unless($t.kills == ($e.kills // 0); "\($t.kills) of \($e.kills // 0) restarts happened");

def of_refusal($t):
  unless($t.client_status == ["4"]; "the exit status is \($t.client_status | join(" ")), not 4"),
  unless($t.client | any(test("^farwire: eth0 queue 0: zero-copy bind refused by driver virtio_net .*--mode copy"));
    "the error is not the one expected: \($t.client | join("; "))"),
  unless($t.ended; "it did not run to its end");

# What a case told, and what is wrong with it.
def judged($all; $e):
  { client: told($all; $e.case; "client.err"), server: told($all; $e.case; "server.err"),
    client_status: told($all; $e.case; "client.status"), server_status: told($all; $e.case; "server.status"),
    late: told($all; $e.case; "server.late"), kills: (told($all; $e.case; "killed") | length),
    files: (told($all; $e.case; "files")[0] // "0" | tonumber),
    began: (told($all; $e.case; "began")[0]), ended: (told($all; $e.case; "ended")[0]),
    copied: (told($all; $e.case; "copied")[0] // "-1" | tonumber), programs: (told($all; $e.case; "programs")[0]),
    sent: (told($all; $e.case; "sent")[0]), arrived: (told($all; $e.case; "arrived")[0]),
    report: (told($all; $e.case; "client.out") | last // "" | (try fromjson catch {}))
  }
  | . + {closed: (closed(.client) + closed(.server)), received: received(.client + .server)}
  | . as $t
  | { case: $e.case, mode: $e.mode, received_frames: $t.received, copied_frames: $t.copied,
      seconds: (if $t.began and $t.ended then ($t.ended | tonumber) - ($t.began | tonumber) | . * 100 | round / 100
                else null end),
      findings: [
        unless($t.programs == "0"; "\($t.programs // "?") XDP programs are left"),
        (if $e.kind == "refusal" then of_refusal($t) else common($e; $t) end),
        (if $e.kind == "transfer" then of_transfer($e; $t)
         elif $e.kind == "perf" then of_perf($t)
         elif $e.kind == "ping" then of_ping($e; $t) else empty end)
      ] };

[split("\n")[] | rtrimstr("\r") | select(length > 0) | capture("^(?<case>[^ ]+) (?<key>[^ ]+) ?(?<value>.*)$")] as $all
| { boot: $boot, kernel: (told($all; "boot"; "kernel")[0]), seconds: $seconds,
    cases: [expected[] as $e | judged($all; $e)],
    findings: [
      unless(told($all; "boot"; "done") == [$boot]; "the guest did not get to its end"),
      (told($all; "boot"; "failed")[]),
      unless(told($all; "boot"; "probe") | any(test("__xsk_rcv")); "nobody counted copies: no kprobe on __xsk_rcv"),
      ($kernel | split("\n")[] | select(length > 0) | "the guest's kernel complains: \(.)")
    ] }
| . + {ok: (.findings == [] and all(.cases[]; .findings == []))}
