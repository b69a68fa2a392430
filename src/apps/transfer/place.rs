//! Where received things go: below one directory, whatever the peer says, under a temporary name until they are whole.
//!
//! Every name is walked component by component from the target's descriptor, with `O_NOFOLLOW`: a symbolic link on the
//! way, whoever put it there and whenever, ends the walk.

use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::sys::uio::pwritev;
use nix::unistd::{UnlinkatFlags, fsync, ftruncate, symlinkat, unlinkat};

use super::name::Name;
use super::record::Meta;

/// Permission bits that are taken over for files: never set-user-id and its kin, since the owner is another here.
const FILE_MODE: u32 = 0o777;
/// The same for directories, where the sticky bit only protects.
const DIRECTORY_MODE: u32 = 0o1777;

/// Most folders that one transfer keeps open: those on the way to where it works (at most 256) and those that wait for
/// their sync. Lower, and trees of many directories wait for the disk more often; a process may have 1024 descriptors
/// by default.
const FOLDERS: usize = 600;

/// Held while a directory gets its time, or keeps it over the removal of a part: while one transfer completes a
/// directory, another one that has broken off may remove its part from there.
static DIRECTORY_TIMES: Mutex<()> = Mutex::new(());

/// An open directory, and the file system that it is on.
#[derive(Debug)]
pub struct Folder {
    /// Its descriptor.
    pub fd: OwnedFd,
    /// Its device number: one `syncfs` is enough for all folders with the same.
    pub device: u64,
    /// Goes back when the folder is closed.
    permit: Option<Sender<()>>,
}

/// The directory that everything goes below.
pub struct Place {
    root: Arc<Folder>,
    /// The way to the folder that was used last, so that its neighbours cost no walk.
    way: Vec<(Box<[u8]>, Arc<Folder>)>,
    random: RandomState,
    parts: u64,
    /// One for each folder that may still be opened.
    permits: (Sender<()>, Receiver<()>),
}

/// A file or link under its temporary name. Dropped before it was placed, it is removed.
pub struct Part {
    folder: Arc<Folder>,
    temporary: String,
    name: Name,
    meta: Meta,
    /// `None` for a symbolic link, and once it was closed.
    file: Option<OwnedFd>,
    link: bool,
    /// Bytes that were written, holes excluded.
    data_bytes: u64,
    placed: bool,
}

/// A directory whose mode and time can be set, since nothing more will be put there.
pub struct Leaving {
    folder: Arc<Folder>,
    parent: Arc<Folder>,
    meta: Meta,
}

impl Place {
    /// Makes `path` the directory that everything goes below, and tries whether it can be written.
    ///
    /// # Errors
    /// A sentence that names it and the next step.
    pub fn open(path: &Path) -> Result<Place, String> {
        let shown = path.display();
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::ENOENT => format!("directory {shown} does not exist; say `mkdir -p {shown}` or name another"),
            Errno::ENOTDIR => format!("{shown} is no directory; name one to receive into, or - for standard output"),
            _ => format!("directory {shown}: {}", errno.desc()),
        })?;
        let root = Folder::of(fd).map_err(|errno| format!("directory {shown}: {}", errno.desc()))?;
        let permits = bounded(FOLDERS);
        (0..FOLDERS).for_each(|_| give_back(&permits.0));
        let (root, way, random) = (Arc::new(root), Vec::new(), RandomState::new());
        let mut place = Place { root, way, random, parts: 0, permits };
        let probe = Name::parse(b"probe").map_err(|error| error.to_string())?;
        place.file(&probe, Meta::default()).map_err(|why| {
            format!("directory {shown} can't be written: {why}; make it writable for this user, or name another")
        })?;
        Ok(place)
    }

    /// The directory itself.
    pub fn root(&self) -> &Arc<Folder> {
        &self.root
    }

    /// Begins a file.
    ///
    /// # Errors
    /// Why it can't be there.
    pub fn file(&mut self, name: &Name, meta: Meta) -> Result<Part, String> {
        let folder = self.folder_of(name)?;
        refuse_directory(&folder, name)?;
        let temporary = self.temporary();
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&folder.fd, temporary.as_str(), flags, Mode::from_bits_truncate(0o600)).map_err(said)?;
        Ok(Part {
            folder,
            temporary,
            name: name.clone(),
            meta,
            file: Some(file),
            link: false,
            data_bytes: 0,
            placed: false,
        })
    }

    /// Makes a symbolic link. Its target is data: it is never followed here.
    ///
    /// # Errors
    /// Why it can't be there.
    pub fn symlink(&mut self, name: &Name, meta: Meta, target: &[u8]) -> Result<Part, String> {
        let folder = self.folder_of(name)?;
        refuse_directory(&folder, name)?;
        let temporary = self.temporary();
        symlinkat(OsStr::from_bytes(target), &folder.fd, temporary.as_str()).map_err(said)?;
        let part =
            Part { folder, temporary, name: name.clone(), meta, file: None, link: true, data_bytes: 0, placed: false };
        let (omit, mtime) = times(&meta);
        let no_follow = UtimensatFlags::NoFollowSymlink;
        utimensat(&part.folder.fd, part.temporary.as_str(), &omit, &mtime, no_follow).map_err(said)?;
        Ok(part)
    }

    /// Makes a directory, or takes the one that is there. Writable for us until [`Place::leave`].
    ///
    /// # Errors
    /// Why it can't be there.
    pub fn directory(&mut self, name: &Name, meta: Meta) -> Result<(), String> {
        let parent = self.folder_of(name)?;
        let mode = Mode::from_bits_truncate(meta.mode & DIRECTORY_MODE | 0o700);
        match mkdirat(&parent.fd, name.last_os(), mode) {
            Ok(()) => Ok(()),
            Err(Errno::EEXIST) => {
                let folder = self.open_folder(&parent, name.last()).map_err(|errno| match errno {
                    Errno::ENOTDIR | Errno::ELOOP => "something that is no directory is in its way".to_owned(),
                    _ => said(errno),
                })?;
                // Only its owner may; whoever else can write there does not need to.
                let _ = fchmod(&folder.fd, mode);
                Ok(())
            }
            Err(errno) => Err(said(errno)),
        }
    }

    /// Nothing more goes into this directory.
    ///
    /// # Errors
    /// Why it can't be opened.
    pub fn leave(&mut self, name: &Name, meta: Meta) -> Result<Leaving, String> {
        let known = self.known(name);
        let parent = self.folder_of(name)?;
        let folder = match known {
            Some(folder) => folder,
            None => Arc::new(self.open_folder(&parent, name.last()).map_err(said)?),
        };
        Ok(Leaving { folder, parent, meta })
    }

    /// The folder that `name` is to be in: walked from the root, or from where the last walk has something in common.
    fn folder_of(&mut self, name: &Name) -> Result<Arc<Folder>, String> {
        let mut depth = 0;
        for part in name.parents() {
            if self.way.get(depth).is_none_or(|(known, _)| **known != *part) {
                self.way.truncate(depth);
                let from = self.way.last().map_or(&self.root, |(_, folder)| folder);
                let folder = self.open_folder(from, part).map_err(|errno| walk_failed(part, errno))?;
                self.way.push((part.into(), Arc::new(folder)));
            }
            depth += 1;
        }
        self.way.truncate(depth);
        Ok(self.way.last().map_or(&self.root, |(_, folder)| folder).clone())
    }

    /// The folder called `name`, if it is on the way that was walked last.
    fn known(&self, name: &Name) -> Option<Arc<Folder>> {
        let mut way = self.way.iter();
        let same = name.parents().all(|part| way.next().is_some_and(|(known, _)| **known == *part));
        way.next().filter(|(known, _)| same && **known == *name.last()).map(|(_, folder)| folder.clone())
    }

    /// Opens a folder; waits for one to be closed if there are too many.
    fn open_folder(&self, parent: &Folder, name: &[u8]) -> Result<Folder, Errno> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // Both ends of the channel are ours, so there is always one to come: those on the way are fewer than all.
        let _ = self.permits.1.recv();
        let opened = openat(parent.fd.as_fd(), OsStr::from_bytes(name), flags, Mode::empty()).and_then(Folder::of);
        match opened {
            Ok(mut folder) => {
                folder.permit = Some(self.permits.0.clone());
                Ok(folder)
            }
            Err(errno) => {
                give_back(&self.permits.0);
                Err(errno)
            }
        }
    }

    fn temporary(&mut self) -> String {
        self.parts += 1;
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.parts);
        format!(".farwire-{:016x}.part", hasher.finish())
    }
}

impl Part {
    /// Writes `slices` at `offset`, all of it. The slices are consumed from the front.
    ///
    /// # Errors
    /// What the file system said.
    pub fn write(&mut self, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> Result<(), String> {
        let Some(file) = &self.file else { return Err("a link takes no data".to_owned()) };
        while !slices.is_empty() {
            let many = slices.len().min(super::cursor::MAX_SLICES);
            match pwritev(file, &slices[..many], offset as i64) {
                Ok(0) => return Err(format!("nothing could be written at byte {offset}")),
                Ok(written) => {
                    IoSlice::advance_slices(&mut slices, written);
                    offset += written as u64;
                    self.data_bytes += written as u64;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(format!("writing at byte {offset}: {}", said(errno))),
            }
        }
        Ok(())
    }

    /// Sets its size: what was not written is a hole.
    ///
    /// # Errors
    /// What the file system said.
    pub fn set_size(&self, size: u64) -> Result<(), String> {
        match &self.file {
            Some(file) => ftruncate(file, size as i64).map_err(said),
            None => Ok(()),
        }
    }

    /// Sets mode and time, as the last thing before it is synced.
    ///
    /// # Errors
    /// What the file system said.
    pub fn set_meta(&self) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        fchmod(file, Mode::from_bits_truncate(self.meta.mode & FILE_MODE)).map_err(said)?;
        let (omit, mtime) = times(&self.meta);
        futimens(file, &omit, &mtime).map_err(said)
    }

    /// Lets go of its descriptor, where there would be too many.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// Gets its content on disk.
    ///
    /// # Errors
    /// What the file system said.
    pub fn sync(&self) -> Result<(), String> {
        match &self.file {
            Some(file) => fsync(file).map_err(said),
            None if self.link => Ok(()),
            None => {
                let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let opened = openat(&self.folder.fd, self.temporary.as_str(), flags, Mode::empty()).map_err(said)?;
                fsync(opened).map_err(said)
            }
        }
    }

    /// Bytes that were written into it, holes excluded.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }

    /// Where it belongs.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Gives it its name, in place of whatever file or link had it.
    ///
    /// # Errors
    /// Why not.
    pub fn place(mut self) -> Result<(), String> {
        renameat(&self.folder.fd, self.temporary.as_str(), &self.folder.fd, self.name.last_os()).map_err(|errno| {
            match errno {
                Errno::EISDIR | Errno::ENOTEMPTY | Errno::EEXIST => "a directory is in its way".to_owned(),
                _ => said(errno),
            }
        })?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.placed {
            self.folder.remove_part(&self.temporary);
        }
    }
}

impl Leaving {
    /// Sets the directory's mode and time.
    ///
    /// # Errors
    /// What the file system said.
    pub fn set_meta(&self) -> Result<(), String> {
        let (omit, mtime) = times(&self.meta);
        let _alone = directory_times();
        futimens(&self.folder.fd, &omit, &mtime).map_err(said)?;
        fchmod(&self.folder.fd, Mode::from_bits_truncate(self.meta.mode & DIRECTORY_MODE)).map_err(said)
    }

    /// The directory and the one that it is in: both are to be synced.
    pub fn folders(&self) -> [Arc<Folder>; 2] {
        [self.folder.clone(), self.parent.clone()]
    }
}

impl Folder {
    fn of(fd: OwnedFd) -> Result<Folder, Errno> {
        let device = fstat(&fd)?.st_dev;
        Ok(Folder { fd, device, permit: None })
    }

    /// Removes a part. The directory keeps its time: nothing that bears a name there has changed, and a transfer that
    /// came later may have set it already.
    fn remove_part(&self, temporary: &str) {
        let _alone = directory_times();
        let before = fstat(&self.fd);
        // Nothing more can be done than to try: at worst a file stays whose name says that it is a part, or a directory
        // of somebody else's shows that something was removed.
        let _ = unlinkat(&self.fd, temporary, UnlinkatFlags::NoRemoveDir);
        if let Ok(stat) = before {
            let _ = futimens(&self.fd, &TimeSpec::UTIME_OMIT, &TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec));
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(permits) = &self.permit {
            give_back(permits);
        }
    }
}

fn directory_times() -> MutexGuard<'static, ()> {
    // It guards nothing that a panic could leave half done.
    DIRECTORY_TIMES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn give_back(permits: &Sender<()>) {
    // There are as many places as permits; and when the transfer is over nobody needs them.
    let _ = permits.try_send(());
}

/// Says early that the name is taken by a directory, rather than after all of the data.
fn refuse_directory(folder: &Folder, name: &Name) -> Result<(), String> {
    match fstatat(&folder.fd, name.last_os(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) if stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() => {
            Err("a directory is in its way".to_owned())
        }
        _ => Ok(()),
    }
}

fn walk_failed(part: &[u8], errno: Errno) -> String {
    let part = super::name::show_bytes(part);
    match errno {
        Errno::ENOTDIR | Errno::ELOOP => format!("{part} on its way is a symbolic link or no directory"),
        Errno::ENOENT => format!("the directory {part} on its way does not exist"),
        _ => format!("the directory {part} on its way: {}", said(errno)),
    }
}

fn said(errno: Errno) -> String {
    match errno {
        Errno::ENOSPC => "no space left on the receiver's disk".to_owned(),
        Errno::EDQUOT => "the receiver's disk quota is used up".to_owned(),
        Errno::EROFS => "the receiver's file system is read-only".to_owned(),
        other => other.desc().to_owned(),
    }
}

fn times(meta: &Meta) -> (TimeSpec, TimeSpec) {
    (TimeSpec::UTIME_OMIT, TimeSpec::new(meta.mtime_s, i64::from(meta.mtime_ns)))
}

#[cfg(test)]
mod tests;
