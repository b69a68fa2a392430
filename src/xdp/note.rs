//! What was tried and given up on the way to the mode in force, and what else is worth a word.

use std::fmt::{self, Display, Formatter};

/// A word about how a link was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// In words.
    pub text: String,
    /// Whether it works less well than was hoped for: a user should read it without having asked.
    pub is_warning: bool,
}

/// Those of one link, in the order of what happened.
#[derive(Clone, Default, Debug)]
pub(super) struct Notes(pub Vec<Note>);

impl Notes {
    /// For who asks.
    pub fn say(&mut self, text: String) {
        self.0.push(Note { text, is_warning: false });
    }

    /// For everybody.
    pub fn warn(&mut self, text: String) {
        self.0.push(Note { text, is_warning: true });
    }
}

impl Display for Note {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
