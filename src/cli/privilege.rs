//! What the process may do, and when it gives that up: hardened at its start, without rights once the link is open.
//!
//! Opening a link takes capabilities, using an open one takes none: the rings are memory, the sends are by an open
//! socket, and the XDP program goes with its last descriptor. So whatever arrives meets a process that can't do
//! anything any more but move data and work on files.

use std::ffi::CString;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist, getresuid, setgroups, setresgid, setresuid};

use super::exit::Failure;
use super::stop::Stop;
use crate::api::EndpointConfig;

/// Leaves core dumps and tracing as the system has them, for who looks for a fault of farwire's own.
const ALLOW_DUMPS: &str = "FARWIRE_DUMPABLE";

/// What root keeps to read files: those of other users as well, as people expect of root.
const READING: &[Capability] = &[Capability::CAP_DAC_READ_SEARCH];
/// What root keeps to write files: into directories of others, whose modes and times it sets.
const WRITING: &[Capability] = &[Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER];

/// What a command does with files once its link is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Files {
    /// Nothing that its own user could not, root's power left out.
    None,
    /// It reads what the user named.
    Read,
    /// It writes what peers send.
    Written,
}

/// Which rights are left once the link is open, and whose process it is then.
#[derive(Clone)]
pub struct Rights {
    files: Files,
    account: Option<Account>,
    stop: Stop,
}

/// A user to become.
#[derive(Clone, Debug)]
struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// Keeps what the process holds, which will be keys, from whoever could read its memory: no core dump is written, and
/// other processes of the same user can't trace it. Unless `FARWIRE_DUMPABLE=1` says to leave that as it was.
pub fn harden() -> Result<(), Failure> {
    if dumps_are_allowed() {
        return Ok(());
    }
    let failed = |errno: Errno| Failure::local(format!("core dumps can't be switched off: {}", errno.desc()));
    set_dumpable(false).map_err(failed)?;
    // Beside that, since a changed user makes a process dumpable again on some systems (fs.suid_dumpable).
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed)
}

fn dumps_are_allowed() -> bool {
    std::env::var_os(ALLOW_DUMPS).is_some_and(|value| value == "1")
}

impl Rights {
    /// Rights for a command that works on files like this, as the user `name` if one is given.
    ///
    /// # Errors
    /// When there is no such user, or the process may not become it.
    pub fn new(files: Files, name: Option<&str>, stop: &Stop) -> Result<Rights, Failure> {
        let account = name.map(Account::named).transpose()?.filter(|account| !account.is_us());
        if let Some(Account { name, .. }) = &account {
            let may = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
            if !may(Capability::CAP_SETUID) || !may(Capability::CAP_SETGID) {
                return Err(Failure::local(format!(
                    "--user {name}: only root can become another user; leave it out, or run this as root"
                )));
            }
        }
        Ok(Rights { files, account, stop: stop.clone() })
    }

    /// Who the process will be, if it is to become another user.
    pub fn user(&self) -> Option<Uid> {
        self.account.as_ref().map(|account| account.uid)
    }

    /// The same settings, with a step that gives up all other rights once the link is open.
    pub fn at_open(self, config: EndpointConfig) -> EndpointConfig {
        config.once_open(move || {
            self.give_up()?;
            self.stop.listen_anew().map_err(|error| format!("signals can't be listened for: {error}"))
        })
    }

    /// Gives up, on the calling thread and those that it will start, everything but what the files need.
    fn give_up(&self) -> Result<(), String> {
        let failed = |error: CapsError| format!("capabilities can't be given up: {error}");
        // Only who has CAP_SETPCAP may; without it, no_new_privs is in the way of getting them back all the same.
        if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(failed)? {
            caps::clear(None, CapSet::Bounding).map_err(failed)?;
        }
        if let Some(account) = &self.account {
            account.become_it().map_err(|errno| format!("--user {}: {}", account.name, errno.desc()))?;
        }
        let keep = self.kept().map_err(failed)?;
        caps::clear(None, CapSet::Ambient).map_err(failed)?;
        caps::clear(None, CapSet::Inheritable).map_err(failed)?;
        caps::set(None, CapSet::Effective, &keep).map_err(failed)?;
        caps::set(None, CapSet::Permitted, &keep).map_err(failed)?;
        set_no_new_privs().map_err(|errno| format!("new privileges can't be ruled out: {}", errno.desc()))?;
        if !dumps_are_allowed() {
            set_dumpable(false).map_err(|errno| format!("core dumps can't be switched off: {}", errno.desc()))?;
        }
        Ok(())
    }

    /// What of root's power over files stays. Other users have none that could.
    fn kept(&self) -> Result<CapsHashSet, CapsError> {
        let wanted = match self.files {
            _ if !geteuid().is_root() => &[],
            Files::None => &[][..],
            Files::Read => READING,
            Files::Written => WRITING,
        };
        let held = caps::read(None, CapSet::Permitted)?;
        Ok(wanted.iter().copied().filter(|capability| held.contains(capability)).collect())
    }
}

impl Account {
    fn named(name: &str) -> Result<Account, Failure> {
        let failed =
            |errno: Errno| Failure::local(format!("--user {name}: users can't be looked up: {}", errno.desc()));
        let Some(User { uid, gid, .. }) = User::from_name(name).map_err(failed)? else {
            return Err(Failure::local(format!(
                "--user {name}: there is no such user here; `getent passwd` lists those there are"
            )));
        };
        // A name with a zero byte in it has not been found above.
        let groups = getgrouplist(&CString::new(name).unwrap_or_default(), gid).map_err(failed)?;
        Ok(Account { name: name.to_owned(), uid, gid, groups })
    }

    /// Whether there is nothing to become.
    fn is_us(&self) -> bool {
        getresuid().is_ok_and(|now| [now.real, now.effective, now.saved] == [self.uid; 3])
    }

    /// Becomes the user for good: real, effective and saved ids of all threads, groups first while that is allowed.
    fn become_it(&self) -> Result<(), Errno> {
        setgroups(&self.groups)?;
        setresgid(self.gid, self.gid, self.gid)?;
        setresuid(self.uid, self.uid, self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `work` finds on a thread of its own: capabilities belong to threads.
    fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    #[test]
    fn only_what_files_need_is_left_and_only_to_root() {
        for (files, kept) in [(Files::None, &[][..]), (Files::Read, READING), (Files::Written, WRITING)] {
            let sets = apart(|| {
                let rights = Rights { files, account: None, stop: Stop::default() };
                rights.give_up().unwrap();
                let sets = [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient];
                sets.map(|set| caps::read(None, set).unwrap())
            });
            let kept = if geteuid().is_root() { kept.iter().copied().collect() } else { CapsHashSet::new() };
            assert_eq!(sets, [kept.clone(), kept, CapsHashSet::new(), CapsHashSet::new()], "{files:?}");
        }
    }

    #[test]
    fn a_user_must_exist_and_the_own_one_is_no_change() {
        let of = |name| Rights::new(Files::None, Some(name), &Stop::default());
        let Err(error) = of("no-such-user") else { panic!("there is none") };
        assert!(error.message.contains("no-such-user") && error.message.contains("getent passwd"), "{error:?}");
        assert!(of("a\0b").is_err());
        let us = User::from_uid(geteuid()).unwrap().unwrap();
        assert!(of(&us.name).is_ok_and(|rights| rights.account.is_none()));
    }

    #[test]
    fn nobody_can_be_become_without_the_right_to() {
        let told = apart(|| {
            Rights { files: Files::None, account: None, stop: Stop::default() }.give_up().unwrap();
            Rights::new(Files::None, Some("nobody"), &Stop::default()).err().map(|failure| failure.message)
        });
        assert!(told.as_ref().is_some_and(|told| told.contains("only root can become another user")), "{told:?}");
    }
}
