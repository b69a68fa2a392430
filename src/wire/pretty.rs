//! One line per frame, for logs and tests, in the manner of tcpdump. Every field of the packet is in it that can be
//! read without its key.

use std::fmt::{self, Display, Formatter};

use super::discover::{Announce, Query};
use super::header::{Header, PacketType, split_data};
use super::item::{Item, Items};
use super::open::{Accept, Confirm, CookieReply, Open, Params};
use super::ping::{PING_LEN, Ping};
use super::reset::{Reset, SealedReset};
use super::sealed::{Ask, SealedAccept, SealedCookie, SealedOpen};
use super::{Ack, Ethernet, HEADER_LEN, ParseError, crc, version};

/// An Ethernet frame as one line: addresses, tag, and our packet if its EtherType is `ethertype`.
pub fn frame(bytes: &[u8], ethertype: u16) -> impl Display + '_ {
    shown(move |f| {
        let Some((ethernet, at)) = Ethernet::parse(bytes) else {
            return write!(f, "{} bytes: no Ethernet frame", bytes.len());
        };
        write!(f, "{} > {}", ethernet.src, ethernet.dst)?;
        if let Some(vlan) = ethernet.vlan {
            write!(f, " vlan {} pcp {}", vlan.id, vlan.pcp)?;
        }
        if ethernet.ethertype != ethertype {
            return write!(f, " ethertype {:#06x}, {} bytes", ethernet.ethertype, bytes.len());
        }
        write!(f, " {}", packet(bytes.get(at..).unwrap_or_default()))
    })
}

/// A packet as one line, from the outer header on (CRC included; what follows it is ignored).
pub fn packet(bytes: &[u8]) -> impl Display + '_ {
    shown(move |f| {
        let header = match Header::parse(bytes) {
            Ok(header) => header,
            Err(error) => return show_refused(f, bytes, error),
        };
        let name = name(header.kind);
        write!(f, "{name} conn {:#010x} #{} len {}", header.conn.0, header.number, header.length)?;
        if header.has_tag() {
            return show_sealed(f, &header, bytes);
        }
        match header.body(bytes).and_then(|body| content(&header, body)) {
            Ok(content) => content.fmt(f)?,
            Err(error) => write!(f, " {error}")?,
        }
        write!(f, " crc {}", if crc::check(bytes, header.end()) { "ok" } else { "WRONG" })
    })
}

/// A closure as something to be shown, so that no string is made of it first.
struct Shown<F>(F);

impl<F: Fn(&mut Formatter<'_>) -> fmt::Result> Display for Shown<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

fn shown<F: Fn(&mut Formatter<'_>) -> fmt::Result>(show: F) -> Shown<F> {
    Shown(show)
}

/// What follows the header: parsed now, so that an error is known before anything is shown.
fn content<'a>(header: &Header, body: &'a [u8]) -> Result<Content<'a>, ParseError> {
    let sealed = header.seal.is_some();
    Ok(match header.kind {
        PacketType::Open if sealed => Content::SealedOpen(SealedOpen::parse(body)?),
        PacketType::Cookie if sealed => Content::SealedCookie(SealedCookie::parse(body)?),
        PacketType::Accept if sealed => Content::SealedAccept(SealedAccept::parse(body)?),
        PacketType::Reset if sealed => Content::SealedReset(SealedReset::parse(body)?),
        PacketType::Ask => Content::Ask(Ask::parse(body)?),
        PacketType::Open => Content::Open(Open::parse(body)?),
        PacketType::Cookie => Content::Cookie(CookieReply::parse(body)?),
        PacketType::Accept => Content::Accept(Accept::parse(body)?),
        PacketType::Confirm => Content::Confirm(Confirm::parse(body)?),
        PacketType::Data => {
            split_data(body, header.trailer)?;
            Content::Data(*header, body)
        }
        PacketType::Control => Content::Control(body),
        PacketType::Ping | PacketType::Pong => Content::Ping(Ping::parse(body)?, body.len() - PING_LEN),
        PacketType::Reset => Content::Reset(Reset::parse(body)?),
        PacketType::Query => Content::Query(Query::parse(body)?),
        PacketType::Announce => Content::Announce(Announce::parse(body)?),
        PacketType::Version => Content::Version(version::parse_version(body)?),
    })
}

enum Content<'a> {
    SealedOpen(SealedOpen),
    SealedCookie(SealedCookie),
    SealedAccept(SealedAccept),
    SealedReset(SealedReset),
    Ask(Ask),
    Open(Open),
    Cookie(CookieReply),
    Accept(Accept),
    Confirm(Confirm),
    Data(Header, &'a [u8]),
    Control(&'a [u8]),
    Ping(Ping, usize),
    Reset(Reset),
    Query(Query<'a>),
    Announce(Announce<'a>),
    Version(&'a [u8]),
}

impl Display for Content<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Content::SealedOpen(open) => {
                write!(f, " sealed from {:#010x} nonce {:#x} key {}", open.conn.0, open.nonce, open.key)?;
                open.cookie.map_or(Ok(()), |cookie| write!(f, " cookie {}", hex(&cookie)))?;
                write!(f, " mac {}", hex(&open.mac))
            }
            Content::SealedCookie(SealedCookie { nonce, cookie, mac }) => {
                write!(f, " sealed nonce {nonce:#x} cookie {} mac {}", hex(&cookie), hex(&mac))
            }
            Content::SealedAccept(accept) => {
                write!(f, " sealed nonce {:#x} mac {}", accept.nonce, hex(&accept.mac))
            }
            Content::SealedReset(reset) => write!(f, " sealed {} mac {}", reset.why, hex(&reset.mac)),
            Content::Ask(ask) => write!(f, " nonce {:#x} key {} mac {}", ask.nonce, ask.key, hex(&ask.mac)),
            Content::Open(open) => {
                write!(f, " from {:#010x} nonce {:#x} {}", open.conn.0, open.nonce, params(&open.params))?;
                open.cookie.map_or(Ok(()), |cookie| write!(f, " cookie {}", hex(&cookie)))
            }
            Content::Cookie(reply) => write!(f, " nonce {:#x} cookie {}", reply.nonce, hex(&reply.cookie)),
            Content::Accept(accept) => {
                write!(f, " from {:#010x} nonce {:#x} {}", accept.conn.0, accept.nonce, params(&accept.params))
            }
            Content::Confirm(confirm) => write!(f, " nonce {:#x}", confirm.nonce),
            Content::Data(header, body) => show_data(f, &header, body),
            Content::Control(body) => show_items(f, body),
            Content::Ping(ping, padding) => {
                write!(f, " id {} hold {}ns padding {padding}", ping.id, ping.hold_ns)
            }
            Content::Reset(reset) => write!(f, " {reset}"),
            Content::Query(query) => write!(f, " name {:?}", query.name),
            Content::Announce(Announce { nonce, name, service, mtu }) => {
                write!(f, " nonce {nonce:#x} name {name:?} service {service:?} mtu {mtu}")
            }
            Content::Version(versions) => write!(f, " speaks {versions:?}"),
        }
    }
}

fn show_refused(f: &mut Formatter<'_>, bytes: &[u8], error: ParseError) -> fmt::Result {
    match Header::peek(bytes) {
        Some((version, kind, conn)) => write!(f, "version {version} type {kind} conn {:#010x}: {error}", conn.0),
        None => write!(f, "{} of {HEADER_LEN} header bytes: {error}", bytes.len()),
    }
}

/// A sealed packet: all that can be seen without its key.
fn show_sealed(f: &mut Formatter<'_>, header: &Header, bytes: &[u8]) -> fmt::Result {
    write!(f, " sealed phase {}", header.seal.unwrap_or(0))?;
    f.write_str(if header.fin { " fin" } else { "" })?;
    f.write_str(if header.trailer { " trailer" } else { "" })?;
    match bytes.get(header.end()..header.end() + header.tail_len()) {
        Some(tag) => write!(f, " tag {}", hex(tag)),
        None => write!(f, " {}", ParseError::Truncated),
    }
}

fn show_data(f: &mut Formatter<'_>, header: &Header, body: &[u8]) -> fmt::Result {
    let Ok((stream, payload, items)) = split_data(body, header.trailer) else { return Ok(()) };
    write!(f, " stream {} offset {} payload {}", stream.stream.0, stream.offset, payload.len())?;
    write!(f, " distance {}{}", stream.lowest_distance, if header.fin { " fin" } else { "" })?;
    if header.trailer { show_items(f, items) } else { Ok(()) }
}

fn show_items(f: &mut Formatter<'_>, items: &[u8]) -> fmt::Result {
    f.write_str(" [")?;
    for (index, item) in Items::new(items).enumerate() {
        f.write_str(if index > 0 { "; " } else { "" })?;
        match item {
            Ok(item) => write!(f, "{item}")?,
            Err(error) => write!(f, "{error}")?,
        }
    }
    f.write_str("]")
}

impl Display for Item<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Item::Ack(ack) => ack.fmt(f),
            Item::ConnCredit { segments } => write!(f, "conn credit {segments}"),
            Item::StreamCredit { stream, limit } => write!(f, "stream {} credit {limit}", stream.0),
            Item::StreamReset { stream, code, segments } => {
                write!(f, "stream {} reset code {code} at {segments}", stream.0)
            }
            Item::StreamStop { stream, code } => write!(f, "stream {} stop code {code}", stream.0),
            Item::StreamsLimit { streams } => write!(f, "streams {streams}"),
            Item::Lowest { number } => write!(f, "lowest {number}"),
            Item::Finish => f.write_str("finish"),
            Item::Close { code, reason } => write!(f, "close code {code} {reason:?}"),
            Item::Probe => f.write_str("probe"),
        }
    }
}

impl Display for Reset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reset::UnknownConnection => "unknown connection",
            Reset::NotListening => "not listening",
            Reset::Full => "full",
            Reset::KeyRequired => "key required",
            Reset::PlainOnly => "plain only",
            Reset::UnknownKey => "unknown key",
        })
    }
}

impl Display for Ack<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ack largest {} delay {}ns floor {}", self.largest, self.delay_ns, self.floor)?;
        write!(f, " words {}@{}", self.words.len(), self.first_word)?;
        (0..self.words.len()).try_for_each(|index| write!(f, " {:x}", self.words.get(index)))
    }
}

fn params(params: &Params) -> impl Display + '_ {
    shown(move |f| {
        write!(f, "mtu {} streams {} idle {}ms", params.mtu, params.streams, params.idle_timeout_ms)?;
        write!(f, " conn credit {} stream credit {}", params.conn_credit, params.stream_credit)
    })
}

fn hex(bytes: &[u8]) -> impl Display + '_ {
    shown(move |f| bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")))
}

fn name(kind: PacketType) -> &'static str {
    match kind {
        PacketType::Open => "OPEN",
        PacketType::Cookie => "COOKIE",
        PacketType::Accept => "ACCEPT",
        PacketType::Confirm => "CONFIRM",
        PacketType::Data => "DATA",
        PacketType::Control => "CONTROL",
        PacketType::Ping => "PING",
        PacketType::Pong => "PONG",
        PacketType::Reset => "RESET",
        PacketType::Query => "QUERY",
        PacketType::Announce => "ANNOUNCE",
        PacketType::Ask => "ASK",
        PacketType::Version => "VERSION",
    }
}
