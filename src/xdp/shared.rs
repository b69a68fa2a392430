//! One XDP program per interface, shared by the queues that this process opens there: an interface takes only one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::sys::stat::stat;

use super::config::{Mode, XdpConfig};
use super::error::XdpError;
use super::nic::Nic;
use super::note::Notes;
use super::patience::until_free;
use super::privilege;
use super::program::{Hook, Program, Steers, attached_to};

/// How often an attach that finds another program is tried again, every 20 ms: one whose process has just been killed
/// is detached while the kernel tears that process down. Lower: a restart fails. Higher: so does a clash, but later.
const BUSY_RETRIES: u32 = 10;

/// A program, and where it is attached.
pub(super) struct Attached {
    pub(super) program: Arc<Program>,
    pub(super) hook: Hook,
}

struct Entry {
    netns: u64,
    index: u32,
    hook: Hook,
    program: Weak<Program>,
}

/// The programs that this process has attached. Interface indices repeat across network namespaces.
static PROGRAMS: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// The program of the interface, attached now if it is not yet. What was tried in vain goes to `notes`.
pub(super) fn attach(config: &XdpConfig, nic: &Nic, steers: Steers, notes: &mut Notes) -> Result<Attached, XdpError> {
    let netns = stat("/proc/thread-self/ns/net").map_or(0, |stat| stat.st_ino);
    let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    programs.retain(|entry| entry.program.strong_count() > 0);
    for entry in programs.iter().filter(|entry| (entry.netns, entry.index) == (netns, nic.index)) {
        let Some(program) = entry.program.upgrade() else { continue };
        if program.steers() != steers {
            return Err(claimed(config, program.steers(), steers));
        }
        notes.say(format!("{}: shares the XDP program of this process's other queues", config.name()));
        return Ok(Attached { program, hook: entry.hook });
    }
    let attached = attach_new(config, nic, steers, notes)?;
    let program = Arc::downgrade(&attached.program);
    programs.push(Entry { netns, index: nic.index, hook: attached.hook, program });
    Ok(attached)
}

/// The error for frames that a program of this process steers otherwise already.
fn claimed(config: &XdpConfig, claimed: Steers, asked: Steers) -> XdpError {
    let interface = config.interface.clone();
    match (claimed, asked) {
        (Steers::EtherType(claimed), Steers::EtherType(asked)) => {
            XdpError::OtherEtherType { interface, claimed, asked }
        }
        _ => XdpError::ProgramInUse { interface, program: "this process's own".into() },
    }
}

fn attach_new(config: &XdpConfig, nic: &Nic, steers: Steers, notes: &mut Notes) -> Result<Attached, XdpError> {
    let mut program = Program::load(steers, nic.queues().unwrap_or(0).max(config.queue + 1))
        .map_err(|source| refusal(config, nic, "loading the XDP program", source))?;
    let hooks: &[Hook] = match config.mode {
        Mode::Auto => &[Hook::Native, Hook::Generic],
        Mode::Zerocopy | Mode::Copy => &[Hook::Native],
        Mode::Skb => &[Hook::Generic],
    };
    for (at, hook) in hooks.iter().enumerate() {
        match until_free(BUSY_RETRIES, is_busy, || program.attach(nic.index, *hook)) {
            Ok(()) => {
                let how = match hook {
                    Hook::Native => "native",
                    Hook::Generic => "generic",
                };
                let what = match steers {
                    Steers::EtherType(ethertype) => format!("EtherType {ethertype:#06x}"),
                    Steers::Everything(longest) => format!("every frame of up to {longest} bytes"),
                };
                notes.say(format!("{}: claims {what} with {how} XDP", config.interface));
                return Ok(Attached { program: Arc::new(program), hook: *hook });
            }
            Err(source) if at + 1 < hooks.len() && may_fall_back(&source) => {
                notes.warn(format!("{}: driver {} refused native XDP ({source})", config.interface, nic.driver));
            }
            Err(source) => return Err(attach_error(config, nic, *hook, source)),
        }
    }
    unreachable!("the last hook either attaches or fails")
}

/// EBUSY: a program attached by a link; EEXIST: one attached at the other hook.
fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

fn may_fall_back(error: &io::Error) -> bool {
    !is_busy(error) && !privilege::is_refusal(error) && error.raw_os_error() != Some(libc::ENODEV)
}

fn attach_error(config: &XdpConfig, nic: &Nic, hook: Hook, source: io::Error) -> XdpError {
    if is_busy(&source) {
        let program = attached_to(nic.index).unwrap_or_else(|| "just gone; try again".into());
        return XdpError::ProgramInUse { interface: config.interface.clone(), program };
    }
    let (what, advice) = match hook {
        // ERANGE, EINVAL: what drivers say to an MTU beyond what they can receive with XDP.
        Hook::Native => ("native XDP", format!("try --mode skb, or a smaller MTU than {}", nic.mtu)),
        Hook::Generic => ("generic XDP", "try --link packet".into()),
    };
    if privilege::is_refusal(&source) || source.raw_os_error() == Some(libc::ENODEV) {
        return refusal(config, nic, "attaching the XDP program", source);
    }
    let driver = nic.driver.clone();
    XdpError::ModeRefused { link: config.name(), what, mode: config.mode, driver, advice, source }
}

fn refusal(config: &XdpConfig, nic: &Nic, operation: &'static str, source: io::Error) -> XdpError {
    let interface = nic.name.clone();
    match source.raw_os_error() {
        _ if privilege::is_refusal(&source) => privilege::refused(config, operation),
        Some(libc::ENODEV) => XdpError::NoInterface { interface },
        _ => XdpError::System { link: config.name(), interface, operation, source },
    }
}
