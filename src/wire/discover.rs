//! Names on the link: a broadcast query and its unicast answers. A query is a name, empty for "everybody".

use super::ParseError;
use super::cursor::{Reader, Writer};

/// Longest name, in bytes.
pub const MAX_NAME_LEN: usize = 32;
/// Longest service, in bytes.
pub const MAX_SERVICE_LEN: usize = 32;
/// Bytes of an announce before its texts.
const FIXED_LEN: usize = 8 + 2 + 1 + 1;
/// Bytes of every query's body: those of the longest announce, so that a forged source address gains nothing.
pub const QUERY_LEN: usize = FIXED_LEN + MAX_NAME_LEN + MAX_SERVICE_LEN;

/// Who is called; the query's nonce is its packet number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query<'a> {
    /// A name, or nothing for everybody.
    pub name: &'a str,
}

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announce<'a> {
    /// The query's packet number field, echoed.
    pub nonce: u64,
    /// Our name.
    pub name: &'a str,
    /// What runs there, for people: `recv`, `perf`.
    pub service: &'a str,
    /// Longest Ethernet payload in bytes.
    pub mtu: u16,
}

impl<'a> Query<'a> {
    /// Parses a body.
    ///
    /// # Errors
    /// If it is not exactly [`QUERY_LEN`] long, the name is no name, or anything but zeros follows it.
    pub fn parse(body: &'a [u8]) -> Result<Query<'a>, ParseError> {
        let mut reader = Reader::new(body);
        let bytes = reader.bytes(QUERY_LEN)?;
        reader.end("bytes behind a query")?;
        let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let (name, padding) = bytes.split_at(len);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(ParseError::Malformed("padding of a query"));
        }
        Ok(Query { name: parse_text(&mut Reader::new(name), len, MAX_NAME_LEN)? })
    }

    /// Writes the body to the front of `out` and returns its length; `None` if it does not fit or the name is too long
    /// or has control characters.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        if !is_text(self.name, MAX_NAME_LEN) {
            return None;
        }
        Writer::new(out, QUERY_LEN)?.bytes(self.name.as_bytes()).zeros();
        Some(QUERY_LEN)
    }
}

impl<'a> Announce<'a> {
    /// Parses a body.
    ///
    /// # Errors
    /// If its length is not what its texts take, or one of them is too long, not UTF-8 or has control characters.
    pub fn parse(body: &'a [u8]) -> Result<Announce<'a>, ParseError> {
        let mut reader = Reader::new(body);
        let (nonce, mtu) = (reader.u64()?, reader.u16()?);
        let (name_len, service_len) = (reader.u8()?, reader.u8()?);
        let name = parse_text(&mut reader, name_len.into(), MAX_NAME_LEN)?;
        let service = parse_text(&mut reader, service_len.into(), MAX_SERVICE_LEN)?;
        reader.end("bytes behind an announce")?;
        Ok(Announce { nonce, name, service, mtu })
    }

    /// Writes the body to the front of `out` and returns its length; `None` if it does not fit or a text is too long
    /// or has control characters.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        if !is_text(self.name, MAX_NAME_LEN) || !is_text(self.service, MAX_SERVICE_LEN) {
            return None;
        }
        let len = FIXED_LEN + self.name.len() + self.service.len();
        let writer = Writer::new(out, len)?.u64(self.nonce).u16(self.mtu);
        let writer = writer.u8(self.name.len() as u8).u8(self.service.len() as u8);
        writer.bytes(self.name.as_bytes()).bytes(self.service.as_bytes());
        Some(len)
    }
}

/// Names are printed on terminals: a peer's control characters must not get there.
fn is_text(text: &str, max_len: usize) -> bool {
    text.len() <= max_len && !text.chars().any(char::is_control)
}

fn parse_text<'a>(reader: &mut Reader<'a>, len: usize, max_len: usize) -> Result<&'a str, ParseError> {
    let text = reader.text(len, "name is not UTF-8")?;
    if is_text(text, max_len) { Ok(text) } else { Err(ParseError::Malformed("name too long or not printable")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_answer_is_no_longer_than_the_question() {
        let text = "n".repeat(MAX_NAME_LEN);
        let announce = Announce { nonce: 1, name: &text, service: &text, mtu: 1500 };
        let (mut question, mut answer) = ([0; 100], [0; 100]);
        assert_eq!(Query { name: &text }.emit(&mut question), Some(QUERY_LEN));
        assert_eq!(announce.emit(&mut answer), Some(QUERY_LEN));
        assert_eq!(Announce::parse(&answer[..QUERY_LEN]), Ok(announce));
        assert_eq!(Query::parse(&question[..QUERY_LEN]), Ok(Query { name: &text }));
    }

    #[test]
    fn a_name_can_not_drive_a_terminal() {
        let mut body = [0; QUERY_LEN];
        assert_eq!(Query { name: "a\u{1b}[2J" }.emit(&mut body), None);
        body[..5].copy_from_slice(b"a\x1b[2J");
        assert!(Query::parse(&body).is_err());
        body[..5].copy_from_slice(b"a\0b\0\0");
        assert_eq!(Query::parse(&body), Err(ParseError::Malformed("padding of a query")));
        assert_eq!(Query { name: &"n".repeat(MAX_NAME_LEN + 1) }.emit(&mut body), None);
        for (name, service) in [("a\u{1b}", "recv"), ("a", "r\n"), ("a", &*"s".repeat(MAX_SERVICE_LEN + 1))] {
            assert_eq!(Announce { nonce: 1, name, service, mtu: 1500 }.emit(&mut body), None, "{name:?} {service:?}");
        }
    }
}
