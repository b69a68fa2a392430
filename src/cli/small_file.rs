//! Small files that users name or the program looks for, read without being held up: no pipe is waited for, and nothing
//! is read that has no end.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A regular file, open.
pub struct SmallFile {
    file: File,
    /// What it is, as it was opened.
    pub stat: Metadata,
}

impl SmallFile {
    /// Opens a file; `None` if it is a device, a pipe or the like.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Option<SmallFile>> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
        let stat = file.metadata()?;
        Ok(stat.is_file().then_some(SmallFile { file, stat }))
    }

    /// Reads it, as far as there is room: how many bytes. If they fill the room, there may be more.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut len = 0;
        while len < bytes.len() {
            match self.file.read(&mut bytes[len..]) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(len)
    }
}
