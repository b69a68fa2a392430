//! Compiles `bpf/steer.bpf.c` with clang and writes its skeleton into `OUT_DIR`.

use std::path::PathBuf;

fn main() {
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the target");
    libbpf_cargo::SkeletonBuilder::new()
        .source("bpf/steer.bpf.c")
        .clang_args([format!("-I/usr/include/{arch}-linux-gnu")])
        .build_and_generate(out.join("steer.skel.rs"))
        .expect("clang compiles bpf/steer.bpf.c: run tools/setup to install clang and libelf-dev");
    println!("cargo:rerun-if-changed=bpf");
}
