//! What fuzzing starts from: the examples of `docs/WIRE.md`, and the scripts in `seeds/`, findings of old among them.
//!
//! Both are hex as a person writes it: bytes up to a `#` on each line.

use std::fs;
use std::path::Path;

/// An input with a name.
pub struct Seed {
    /// An example's title, or a file's name without `.hex`.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// The seeds of a target, in the order of their names. `project` is where `docs` and `fuzz` are.
///
/// # Errors
/// If a file can't be read, or is no hex; the text says which.
pub fn seeds(project: &Path, target: &str) -> Result<Vec<Seed>, String> {
    let mut seeds = Vec::new();
    if target == "packet" {
        let examples = examples(&read(&project.join("docs/WIRE.md"))?);
        seeds.extend(examples.into_iter().map(|Example { title, bytes, .. }| Seed { name: title, bytes }));
    }
    let folder = project.join("fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "hex"));
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        seeds.push(Seed { name, bytes: hex_file(&file)? });
    }
    if seeds.is_empty() { Err(format!("{target}: no seeds in {}", folder.display())) } else { Ok(seeds) }
}

/// An example of `docs/WIRE.md`: its title, the line that it is shown as, its bytes.
pub struct Example {
    /// What stands behind the opening of its block.
    pub title: String,
    /// The frame as `wire::pretty` shows it.
    pub line: String,
    /// The frame.
    pub bytes: Vec<u8>,
}

/// The ```` ```hex ```` blocks of the document; a line of them that begins with a `#` is the frame in words.
///
/// # Panics
/// If one of them is no hex.
pub fn examples(document: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(title) = line.strip_prefix("```hex ") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let line = block.iter().filter_map(|line| line.strip_prefix("# ")).next_back().unwrap_or_default().to_owned();
        let bytes = hex_bytes(block.into_iter()).unwrap_or_else(|word| panic!("{title}: {word:?} is no byte"));
        examples.push(Example { title: title.to_owned(), line, bytes });
    }
    assert!(examples.len() >= 12, "docs/WIRE.md lost its examples");
    examples
}

/// The bytes of a file of hex.
///
/// # Errors
/// If it can't be read, or is no hex.
pub fn hex_file(file: &Path) -> Result<Vec<u8>, String> {
    hex_bytes(read(file)?.lines()).map_err(|word| format!("{}: {word:?} is no byte", file.display()))
}

/// The bytes of lines of hex; the first word that is none as the error.
fn hex_bytes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<u8>, String> {
    let words = lines.flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    words.map(|word| u8::from_str_radix(word, 16).map_err(|_| word.to_owned())).collect()
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}
