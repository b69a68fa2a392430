//! The XDP program: loaded, attached by a bpf_link that goes away with the process, fed with sockets, asked for counts.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Once;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle, PrintLevel, libbpf_sys};

/// What libbpf-cargo made of `bpf/steer.bpf.c`.
#[allow(unsafe_code, missing_docs, clippy::all, clippy::undocumented_unsafe_blocks)]
#[allow(clippy::multiple_unsafe_ops_per_block)]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/steer.skel.rs"));
}

/// Where in the kernel's receive path the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// In the driver.
    Native,
    /// After the kernel has built an skb.
    Generic,
}

/// Why frames went where they went: the names of the program's counters, in the order of `bpf/steer.h`.
pub const REASONS: [&str; 7] = [
    "steer_steered",
    "steer_not_ours",
    "steer_runt",
    "steer_wrong_version",
    "steer_bad_length",
    "steer_no_socket",
    "steer_too_long",
];

/// Which frames the program steers to the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Steers {
    /// Well-formed packets of farwire under this EtherType.
    EtherType(u16),
    /// Every frame of up to this many bytes, from the destination address on.
    Everything(u32),
}

/// What the program does with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To the kernel's network stack.
    Pass,
    /// To the socket of the frame's queue.
    Redirect,
    /// Anything else; the program never means it.
    Other(u32),
}

/// The program and its maps, in the kernel for as long as this lives.
pub struct Program {
    program: OwnedFd,
    link: Option<OwnedFd>,
    sockets: MapHandle,
    counters: MapHandle,
    steers: Steers,
}

impl Program {
    /// Loads a program that steers those frames, with room for a socket on each of `queues` queues.
    ///
    /// # Errors
    /// What the kernel said; its kind is `PermissionDenied` if capabilities are missing.
    pub fn load(steers: Steers, queues: u32) -> io::Result<Program> {
        quieten_libbpf();
        let mut storage = MaybeUninit::uninit();
        let mut open = skeleton::SteerSkelBuilder::default().open(&mut storage).map_err(plain)?;
        let constants = open.maps.rodata_data.as_mut().ok_or_else(|| io::Error::other("the program has no .rodata"))?;
        match steers {
            Steers::EtherType(ethertype) => constants.ethertype = ethertype,
            Steers::Everything(longest) => constants.everything_up_to = longest,
        }
        let queues = queues.max(open.maps.sockets.max_entries());
        open.maps.sockets.set_max_entries(queues).map_err(plain)?;
        let loaded = open.load().map_err(plain)?;
        // Own descriptors keep program and maps alive without the skeleton, which borrows its storage.
        Ok(Program {
            program: loaded.progs.steer.as_fd().try_clone_to_owned()?,
            link: None,
            sockets: MapHandle::try_from(&loaded.maps.sockets).map_err(plain)?,
            counters: MapHandle::try_from(&loaded.maps.counters).map_err(plain)?,
            steers,
        })
    }

    /// Attaches the program to an interface of the calling thread's network namespace; it is detached when the program
    /// is dropped, or the process ends.
    ///
    /// # Errors
    /// What the kernel said: EBUSY if another program is attached, EOPNOTSUPP or EINVAL if the driver can't.
    pub fn attach(&mut self, index: u32, hook: Hook) -> io::Result<()> {
        let flags = match hook {
            Hook::Native => libbpf_sys::XDP_FLAGS_DRV_MODE,
            Hook::Generic => libbpf_sys::XDP_FLAGS_SKB_MODE,
        };
        let options = libbpf_sys::bpf_link_create_opts {
            sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
            flags,
            ..Default::default()
        };
        let program = self.program.as_raw_fd();
        // SAFETY: the program's descriptor is open while `self` lives, and `options` outlives the call, its size told.
        // libbpf-rs' attach_xdp takes no flags, so that it can't ask for the generic hook.
        let fd = unsafe { libbpf_sys::bpf_link_create(program, index as i32, libbpf_sys::BPF_XDP, &raw const options) };
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(-fd));
        }
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        self.link = Some(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(())
    }

    /// Steers what arrives on `queue` to an AF_XDP socket.
    ///
    /// # Errors
    /// If there is no such entry, or the descriptor is no AF_XDP socket.
    pub fn steer_to(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let value = socket.as_raw_fd().to_ne_bytes();
        self.sockets.update(&queue.to_ne_bytes(), &value, MapFlags::ANY).map_err(plain)
    }

    /// Lets what arrives on `queue` pass to the kernel again.
    pub fn steer_to_nobody(&self, queue: u32) {
        // The kernel removes the entry by itself when the socket closes; then there is nothing to delete.
        let _ = self.sockets.delete(&queue.to_ne_bytes());
    }

    /// Which frames the program steers.
    pub fn steers(&self) -> Steers {
        self.steers
    }

    /// Frames per reason since the program was loaded, over all queues and CPUs, named as in [`REASONS`].
    pub fn counters(&self) -> [(&'static str, u64); REASONS.len()] {
        let mut index = 0u32;
        REASONS.map(|name| {
            let per_cpu = self.counters.lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY);
            index += 1;
            let values = per_cpu.ok().flatten().unwrap_or_default();
            let sum = values.iter().filter_map(|value| value.as_slice().try_into().ok().map(u64::from_ne_bytes)).sum();
            (name, sum)
        })
    }

    /// Runs the program on `frame` as if it had arrived on queue 0, without any interface.
    ///
    /// # Errors
    /// If the kernel refuses, for example because the frame is shorter than an Ethernet header.
    pub fn test_run(&self, frame: &[u8]) -> io::Result<Verdict> {
        let mut options = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
            data_in: frame.as_ptr().cast(),
            data_size_in: frame.len() as u32,
            repeat: 1,
            ..Default::default()
        };
        let program = self.program.as_raw_fd();
        // SAFETY: `options` and the frame it points to outlive the call; the kernel only reads the frame.
        let status = unsafe { libbpf_sys::bpf_prog_test_run_opts(program, &raw mut options) };
        if status < 0 {
            return Err(io::Error::from_raw_os_error(-status));
        }
        Ok(match options.retval {
            libbpf_sys::XDP_PASS => Verdict::Pass,
            libbpf_sys::XDP_REDIRECT => Verdict::Redirect,
            other => Verdict::Other(other),
        })
    }
}

/// Name and id of the program attached to an interface, for a message; `None` if there is none.
pub(super) fn attached_to(index: u32) -> Option<String> {
    let mut id = 0;
    // SAFETY: `id` outlives the call, which writes one u32 there.
    let status = unsafe { libbpf_sys::bpf_xdp_query_id(index as i32, 0, &raw mut id) };
    if status < 0 || id == 0 {
        return None;
    }
    let info = libbpf_rs::query::ProgInfoIter::default().find(|info| info.id == id);
    Some(match info {
        Some(info) if info.name.to_bytes() == b"steer" => format!("`steer`, id {id}: another farwire?"),
        Some(info) => format!("`{}`, id {id}", info.name.to_string_lossy()),
        None => format!("id {id}"),
    })
}

/// libbpf writes to stderr by itself; what it has to say comes back in errors, or goes to the log.
fn quieten_libbpf() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        libbpf_rs::set_print(Some((PrintLevel::Debug, |_, text| tracing::debug!("libbpf: {}", text.trim_end()))));
    });
}

/// libbpf-rs' error with its kind, as far as the callers tell kinds apart: the number itself it keeps to itself.
fn plain(error: libbpf_rs::Error) -> io::Error {
    let kind = match error.kind() {
        libbpf_rs::ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        libbpf_rs::ErrorKind::OutOfMemory => io::ErrorKind::OutOfMemory,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, format!("{error:#}"))
}
