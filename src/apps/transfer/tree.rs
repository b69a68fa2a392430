//! What is to be sent, walked depth first: a directory, what is in it, and then its end. One open directory per level.

use std::collections::VecDeque;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::name::Name;
use super::record::Meta;

/// The next thing on the way.
pub enum Step {
    /// A regular file.
    File {
        /// Where it belongs.
        name: Name,
        /// Mode and time.
        meta: Meta,
        /// Its size.
        size: u64,
        /// It may have holes: it occupies less than its size.
        holes: bool,
        /// Open for reading, unless the walk only counts.
        file: Option<OwnedFd>,
    },
    /// Standard input.
    Stream {
        /// Where it belongs.
        name: Name,
    },
    /// A directory begins.
    Directory {
        /// Where it belongs.
        name: Name,
        /// Mode and time.
        meta: Meta,
    },
    /// All of a directory was shown.
    Leave {
        /// Which.
        name: Name,
        /// Mode and time.
        meta: Meta,
    },
    /// A symbolic link.
    Symlink {
        /// Where it belongs.
        name: Name,
        /// Mode and time.
        meta: Meta,
        /// Where it points.
        target: Vec<u8>,
    },
    /// Something that can't be read.
    Unreadable {
        /// Where it would belong.
        name: Name,
        /// Why.
        reason: String,
    },
    /// A socket, pipe or device, which is not sent, or a name that can't be.
    Skipped {
        /// Its path.
        name: String,
        /// What it is.
        what: &'static str,
    },
}

/// One thing that the user named.
#[derive(Clone, Debug)]
pub enum Root {
    /// A path, and the name under which it goes.
    Path(PathBuf, Name),
    /// Standard input, and its name.
    Stdin(Name),
}

/// A walk over all of the roots.
pub struct Tree {
    roots: VecDeque<Root>,
    levels: Vec<Level>,
    open_files: bool,
}

struct Level {
    entries: OwningIter,
    /// The same directory: the iterator does not lend its descriptor.
    dir: OwnedFd,
    name: Name,
    meta: Meta,
    /// Listing it failed; that was said.
    broken: bool,
}

impl Level {
    fn open(at: BorrowedFd<'_>, path: &OsStr, name: Name, meta: Meta) -> Result<Level, Errno> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = openat(at, path, flags, Mode::empty())?;
        let listed = dir.try_clone().map_err(|_| Errno::EMFILE)?;
        Ok(Level { entries: Dir::from_fd(listed)?.into_iter(), dir, name, meta, broken: false })
    }
}

impl Root {
    /// What a path on the command line means; `-` is standard input.
    ///
    /// # Errors
    /// A sentence, if it does not exist or has no name.
    pub fn from_argument(path: &Path, stdin_name: &Name) -> Result<Root, String> {
        if path == Path::new("-") {
            return Ok(Root::Stdin(stdin_name.clone()));
        }
        std::fs::symlink_metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let named = match path.file_name() {
            Some(name) => name.to_owned(),
            // `.` and `..` have no name of their own; the directory that they mean has one.
            None => path
                .canonicalize()
                .ok()
                .and_then(|real| real.file_name().map(OsStr::to_owned))
                .ok_or_else(|| format!("{} has no name to arrive under; name what is in it", path.display()))?,
        };
        let name = Name::parse(named.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Root::Path(path.to_owned(), name))
    }

    /// Where it will be.
    pub fn name(&self) -> &Name {
        match self {
            Root::Path(_, name) | Root::Stdin(name) => name,
        }
    }
}

impl Tree {
    /// A walk over `roots`, one after another; with `open_files`, files come open for reading.
    pub fn new(roots: Vec<Root>, open_files: bool) -> Tree {
        Tree { roots: roots.into(), levels: Vec::new(), open_files }
    }

    fn next_root(&mut self) -> Option<Step> {
        match self.roots.pop_front()? {
            Root::Stdin(name) => Some(Step::Stream { name }),
            Root::Path(path, name) => {
                let (step, level) = self.visit(AT_FDCWD, path.as_os_str(), name);
                self.levels.extend(level);
                Some(step)
            }
        }
    }

    /// The next entry of the innermost directory, or its end.
    fn next_entry(&mut self) -> Option<Step> {
        let level = self.levels.last_mut()?;
        loop {
            match level.entries.next() {
                Some(Ok(entry)) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Some(Ok(entry)) => {
                    let (step, inner) = self.visit_entry(entry.file_name());
                    self.levels.extend(inner);
                    return Some(step);
                }
                Some(Err(errno)) if !level.broken => {
                    level.broken = true;
                    let reason = format!("the directory can't be read to its end: {}", errno.desc());
                    return Some(Step::Unreadable { name: level.name.clone(), reason });
                }
                Some(Err(_)) | None => {
                    let level = self.levels.pop()?;
                    return Some(Step::Leave { name: level.name, meta: level.meta });
                }
            }
        }
    }

    fn visit_entry(&self, file_name: &CStr) -> (Step, Option<Level>) {
        let (dir, within) =
            self.levels.last().map_or((AT_FDCWD, &b""[..]), |level| (level.dir.as_fd(), level.name.as_bytes()));
        match Name::parse(&[within, b"/", file_name.to_bytes()].concat()) {
            Ok(name) => self.visit(dir, OsStr::from_bytes(file_name.to_bytes()), name),
            Err(error) => (Step::Skipped { name: error.name, what: error.why }, None),
        }
    }

    fn visit(&self, at: BorrowedFd<'_>, path: &OsStr, name: Name) -> (Step, Option<Level>) {
        match self.look(at, path, &name) {
            Ok(seen) => seen,
            Err(errno) => (Step::Unreadable { name, reason: errno.desc().to_owned() }, None),
        }
    }

    fn look(&self, at: BorrowedFd<'_>, path: &OsStr, name: &Name) -> Result<(Step, Option<Level>), Errno> {
        let name = name.clone();
        let stat = fstatat(at, path, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let meta = meta_of(&stat);
        let skipped = |what| Step::Skipped { name: name.to_string(), what };
        let step = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => self.file(at, path, name, &stat)?,
            SFlag::S_IFDIR => {
                let level = Level::open(at, path, name.clone(), meta)?;
                return Ok((Step::Directory { name, meta }, Some(level)));
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(at, path)?.as_bytes().to_vec();
                Step::Symlink { name, meta, target }
            }
            SFlag::S_IFSOCK => skipped("a socket"),
            SFlag::S_IFIFO => skipped("a named pipe"),
            _ => skipped("a device"),
        };
        Ok((step, None))
    }

    fn file(&self, at: BorrowedFd<'_>, path: &OsStr, name: Name, seen: &FileStat) -> Result<Step, Errno> {
        let (mut stat, mut file) = (*seen, None);
        if self.open_files {
            // Non-blocking, in case it has become a pipe since it was looked at.
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let opened = openat(at, path, flags, Mode::empty())?;
            stat = fstat(&opened)?;
            file = Some(opened);
        }
        let size = stat.st_size as u64;
        let holes = (stat.st_blocks as u64) * 512 < size;
        Ok(Step::File { name, meta: meta_of(&stat), size, holes, file })
    }
}

impl Iterator for Tree {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        self.next_entry().or_else(|| self.next_root())
    }
}

fn meta_of(stat: &FileStat) -> Meta {
    Meta { mode: stat.st_mode & 0o7777, mtime_s: stat.st_mtime, mtime_ns: stat.st_mtime_nsec as u32 }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn plain(name: &str) -> Name {
        Name::parse(name.as_bytes()).unwrap()
    }

    fn walk(path: &Path) -> Vec<String> {
        let root = Root::from_argument(path, &plain("stdin")).unwrap();
        Tree::new(vec![root], true)
            .map(|step| match step {
                Step::File { name, size, holes, .. } => format!("file {name} {size} {holes}"),
                Step::Stream { name } => format!("stream {name}"),
                Step::Directory { name, .. } => format!("dir {name}"),
                Step::Leave { name, .. } => format!("leave {name}"),
                Step::Symlink { name, target, .. } => format!("link {name} {}", String::from_utf8_lossy(&target)),
                Step::Unreadable { name, reason } => format!("unreadable {name} {reason}"),
                Step::Skipped { name, what } => format!("skipped {name} {what}"),
            })
            .collect()
    }

    #[test]
    fn a_tree_is_walked_depth_first_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("empty")).unwrap();
        fs::write(top.join("file"), b"12345").unwrap();
        symlink("/etc", top.join("link")).unwrap();
        nix::unistd::mkfifo(&top.join("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
        let mut steps = walk(&top);
        assert_eq!((steps.remove(0), steps.pop().unwrap()), ("dir top".to_owned(), "leave top".to_owned()));
        let empty = steps.iter().position(|step| step == "dir top/empty").unwrap();
        assert_eq!(steps[empty + 1], "leave top/empty");
        for wanted in ["file top/file 5 false", "link top/link /etc", "skipped top/pipe a named pipe"] {
            assert!(steps.iter().any(|step| step == wanted), "{wanted} not in {steps:?}");
        }
        assert_eq!(steps.len(), 5);
    }

    #[test]
    fn a_path_without_a_name_gets_its_real_one() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let root = Root::from_argument(&inner.join("..").join("inner").join("."), &plain("stdin")).unwrap();
        assert_eq!(root.name(), &plain("inner"));
        assert!(Root::from_argument(Path::new("/"), &plain("stdin")).unwrap_err().contains("no name"));
        let missing = dir.path().join("missing");
        assert!(Root::from_argument(&missing, &plain("stdin")).unwrap_err().contains("missing"));
    }
}
