//! The commands doing what they are for, over AF_XDP in network namespaces: every flag that changes the link, JSON that
//! others rely on, trees as they were. Needs root.

mod lab;

#[path = "faults/command.rs"]
mod command;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use command::{B_MAC, Scene, content};

/// Where a test can't run without root, this ends it: loudly, unless that is known.
macro_rules! needs_root {
    () => {
        if !lab::privileged() {
            return;
        }
    };
}

#[test]
fn a_tree_arrives_and_its_digests_are_told() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&["-v", "--once"]);
    let top = scene.from("tree");
    fs::create_dir_all(top.join("a/b")).unwrap();
    fs::create_dir(top.join("empty")).unwrap();
    fs::write(top.join("a/data"), content(1, 2_000_000)).unwrap();
    fs::write(top.join("a/b/none"), b"").unwrap();
    symlink("a/data", top.join("link")).unwrap();
    let sparse = File::create(top.join("sparse")).unwrap();
    sparse.write_all_at(b"x", 50 << 20).unwrap();
    sparse.set_len(80 << 20).unwrap();
    fs::set_permissions(top.join("a/data"), PermissionsExt::from_mode(0o604)).unwrap();
    let past = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_001, 5);
    File::open(top.join("a")).unwrap().set_modified(past).unwrap();
    let sent = scene.send(&["tree", "-v"], "b");
    sent.succeeds();
    let received = recv.wait();
    received.succeeds();
    let digest = blake3::hash(&content(1, 2_000_000)).to_string();
    for told in [&sent, &received] {
        assert!(told.stderr.contains(&format!("{digest}  tree/a/data")), "{told:?}");
        assert!(told.stdout.contains("3 files, 4 directories, 1 link"), "{told:?}");
    }
    let to = Path::new(scene.to()).join("tree");
    assert_eq!(fs::read(to.join("a/data")).unwrap(), content(1, 2_000_000));
    assert_eq!(fs::metadata(to.join("a/data")).unwrap().permissions().mode() & 0o777, 0o604);
    let stat = fs::metadata(to.join("a")).unwrap();
    assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_000_000_001, 5));
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("a/data"));
    let stat = fs::metadata(to.join("sparse")).unwrap();
    assert!(stat.len() == 80 << 20 && stat.blocks() * 512 < 1 << 20, "{} blocks", stat.blocks());
}

#[test]
fn every_flag_that_changes_the_link_works_on_both_ends() {
    needs_root!();
    let scene = Scene::new(&["--queues", "2", "--mtu", "3400"]);
    let bytes = scene.file("f", 3_000_000);
    for flags in [
        &["--link", "packet"][..],
        &["--mode", "skb"],
        &["--mode", "copy", "--queue", "1"],
        &["--vlan", "100:3"],
        &["--ethertype", "0x88b6"],
        &["--umem", "16MiB", "--idle", "sleep"],
        &["--cpu", "0", "--idle", "spin"],
        &["--cc", "reno", "--mtu", "1500"],
        &["--rate", "500mbit"],
    ] {
        let recv = scene.recv_at(flags);
        let sent = scene.send(&[&["f"], flags].concat(), B_MAC);
        assert_eq!(sent.code, Some(0), "{flags:?}: {sent:?}");
        scene.assert_arrived("f", &bytes);
        recv.interrupt().fails_with(0);
    }
}

#[test]
fn a_mode_that_is_not_there_is_refused_and_named() {
    needs_root!();
    let scene = Scene::new(&[]);
    scene.farwire("a", &["ping", "-i", "eth1", "--mode", "zerocopy", B_MAC]).says(4, &["zero-copy", "veth", "--mode"]);
    scene.farwire("a", &["ping", "-i", "eth1", "--queue", "7", B_MAC]).says(4, &["queue 7 of eth1", "1 queue"]);
    scene.farwire("a", &["ping", "-i", "eth1", "--cpu", "999", B_MAC]).says(4, &["--cpu 999"]);
    scene.farwire("a", &["ping", "-i", "eth1", "--umem", "1k", B_MAC]).says(4, &["--umem"]);
    scene.farwire("a", &["ping", "-i", "lo", B_MAC]).says(4, &["lo"]);
}

#[test]
fn perf_measures_each_way_and_says_so_in_json() {
    needs_root!();
    let scene = Scene::new(&[]);
    let server = scene.perf_server();
    for (flags, direction, up, down) in
        [(&["-P", "3"][..], "up", true, false), (&["-R"], "down", false, true), (&["--bidir"], "both", true, true)]
    {
        let common = ["perf", "-i", "eth1", "-t", "1", "--interval", "0.25", "--bins", "0.1", "--verify", "--json"];
        let arguments = [&common, flags, &["b"]];
        let told = scene.farwire("a", &arguments.concat());
        told.succeeds();
        let report = told.json();
        assert_eq!(report["direction"], direction);
        assert!(report["goodput_bps"].as_f64().unwrap() > 1e6, "{report}");
        assert_eq!((report["up"].is_object(), report["down"].is_object()), (up, down), "{report}");
        assert!(report["retransmitted_packets"].is_u64(), "{report}");
        for percentile in ["p50", "p90", "p99", "p99.9", "max"] {
            assert!(report["rtt_us"][percentile].as_f64().unwrap() > 0.0, "{direction}: {}", report["rtt_us"]);
        }
        let intervals = report["intervals"].as_array().unwrap();
        assert!(intervals.len() >= 3, "{intervals:?}");
        let total: u64 = intervals.iter().map(|interval| interval["bytes"].as_u64().unwrap()).sum();
        let bytes = report["bytes"].as_u64().unwrap();
        assert!(total <= bytes && total > bytes / 2, "{total} bytes in intervals, {bytes} in all");
        for (way, measured) in [("up", up), ("down", down)] {
            let bins = &report["bins"][way];
            assert_eq!(bins.is_object(), measured, "{bins}");
            if measured {
                let counted: Vec<u64> = serde_json::from_value(bins["bytes"].clone()).unwrap();
                assert!(counted.len() == 10 && counted[0] > 0, "{way}: {counted:?}");
                // What was on its way when the sender ended may be in none.
                let (counted, bytes) = (counted.iter().sum::<u64>(), report[way]["bytes"].as_u64().unwrap());
                assert!(counted <= bytes && counted > bytes / 2, "{way}: {counted} of {bytes} bytes in bins");
            }
        }
        assert!(report["cpu_seconds"]["local"].as_f64().unwrap() > 0.0, "{report}");
        assert!(report["connect_ms"].as_f64().unwrap() > 0.0 && report["notices"].is_array(), "{report}");
    }
    server.interrupt().fails_with(0);
}

#[test]
fn perf_for_people_draws_and_exports() {
    needs_root!();
    let scene = Scene::new(&[]);
    let _server = scene.perf_server();
    let hgrm = scene.from("rtt.hgrm");
    let arguments = ["perf", "-i", "eth1", "-t", "0.5", "--interval", "0.1", "--hgrm", hgrm.to_str().unwrap(), "b"];
    let told = scene.farwire("a", &arguments);
    told.succeeds();
    for words in ["[up]", "bit/s", "received", "retransmitted", "round trips", "queueing", "turns", "per burst"] {
        assert!(told.stdout.contains(words), "{words:?} is not in {}", told.stdout);
    }
    assert!(told.stderr.contains("AF_XDP copy on eth1 queue 0, MTU 1500"), "{told:?}");
    assert!(fs::read_to_string(hgrm).unwrap().contains("Percentile"));
}

#[test]
fn ping_and_discover_tell_what_there_is() {
    needs_root!();
    let scene = Scene::new(&[]);
    let _recv = scene.recv(&[]);
    let told = scene.farwire("a", &["ping", "-i", "eth1", "-c", "50", "-s", "1000", "--interval", "0", "--json", "b"]);
    told.succeeds();
    let report = told.json();
    assert_eq!((&report["sent"], &report["received"]), (&50.into(), &50.into()), "{report}");
    assert!(report["rtt_us"]["p50"].as_f64().unwrap() < 100_000.0, "{report}");
    // Without -i: there is one interface that makes sense.
    let told = scene.farwire("a", &["ping", "-c", "20", "b"]);
    told.says(0, &["on eth1 queue 0", "the only sensible interface"]);
    assert!(told.stdout.contains("20 pings of 64 bytes") && told.stdout.contains("p50"), "{told:?}");
    scene.farwire("a", &["ping", "-i", "eth1", "-s", "2000", "b"]).says(2, &["--size 2000", "1500"]);
    let found = scene.farwire("a", &["discover", "-i", "eth1", "--json"]).json();
    assert_eq!(found["hosts"][0]["name"], "b");
    assert_eq!((&found["hosts"][0]["mac"], &found["hosts"][0]["mtu"]), (&B_MAC.into(), &1500.into()));
}

#[test]
fn a_doctor_finds_a_veth_usable_and_what_is_wrong_with_it() {
    needs_root!();
    let scene = Scene::new(&["--queues", "2"]);
    let report = scene.farwire("a", &["doctor", "-i", "eth1", "--json"]);
    report.succeeds();
    let report = report.json();
    let tried = report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "xdp").unwrap();
    assert!(tried["what"].as_str().unwrap().contains("mode copy"), "{tried}");
    let zerocopy = |arguments: &[&str]| {
        let told = scene.farwire("a", &[&["doctor", "-i", "eth1", "--json"], arguments].concat()).json();
        let found =
            told["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "zero-copy").cloned();
        found.map(|found| (found["level"].clone(), found["what"].as_str().unwrap().to_owned())).unwrap()
    };
    let why = "driver veth has no zero-copy in any kernel";
    assert_eq!(zerocopy(&[]), ("ok".into(), format!("not asked for: {why}")));
    assert_eq!(zerocopy(&["--mode", "copy"]), ("ok".into(), format!("not asked for, nor would auto: {why}")));
    let asked = format!("asked for, where auto would copy: {why}");
    assert_eq!(zerocopy(&["--mode", "zerocopy"]), ("warn".into(), asked));
    let people = scene.farwire("a", &["doctor", "-i", "eth1"]);
    assert!(people.stdout.contains(&format!("ok    {:<13} not asked for: {why}\n", "zero-copy")), "{people:?}");
    scene.farwire("a", &["doctor", "-i", "eth1", "--mtu", "9000"]).fails_with(4);
    let wrong = scene.farwire("a", &["doctor", "-i", "eth1", "--queue", "5"]);
    wrong.fails_with(4);
    assert!(wrong.stdout.contains("there is no queue 5") && wrong.stdout.contains("-> "), "{wrong:?}");
}

#[test]
fn memory_does_not_grow_with_the_size_or_the_number_of_files() {
    needs_root!();
    let scene = Scene::new(&[]);
    let recv = scene.recv(&[]);
    scene.file("small", 1_000_000);
    scene.send(&["small"], "b").succeeds();
    let before = recv.peak_memory_kb();
    let large = File::create(scene.from("large")).unwrap();
    large.write_all_at(&content(3, 1 << 20), 0).unwrap();
    for at in 1..400 {
        large.write_all_at(&content(at, 1 << 20), at << 20).unwrap();
    }
    fs::create_dir(scene.from("many")).unwrap();
    for index in 0..5000 {
        fs::write(scene.from("many").join(index.to_string()), content(index, 100)).unwrap();
    }
    scene.send(&["large", "many"], "b").succeeds();
    let after = recv.peak_memory_kb();
    assert!(after < before + 20_000, "peak memory went from {before} to {after} kB");
}
