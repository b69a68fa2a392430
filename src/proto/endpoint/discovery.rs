//! Who is on the link: broadcast queries and their unicast answers.

use super::super::output::{Content, Event, Found, Transmit};
use super::replies::Reply;
use super::{Endpoint, Packet, Verdict};
use crate::base::time::{MILLISECOND, NEVER};
use crate::base::{ConnId, MacAddr, Nanos};
use crate::wire::discover::Query;
use crate::wire::{Announce, Header, PacketType};

/// Pause between two queries while an answer is awaited: a lost one is soon made up for, and four a second are no load.
const QUERY_EVERY_NS: Nanos = 250 * MILLISECOND;

/// What we are called, and whom we look for.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    identity: Option<(String, String)>,
    query: Option<Ask>,
}

#[derive(Debug)]
struct Ask {
    name: String,
    nonce: u64,
    next_ns: Nanos,
}

impl Discovery {
    pub fn identity(&self) -> Option<(&str, &str)> {
        self.identity.as_ref().map(|(name, service)| (name.as_str(), service.as_str()))
    }

    pub fn poll_timeout(&self) -> Nanos {
        self.query.as_ref().map_or(NEVER, |ask| ask.next_ns)
    }
}

impl Endpoint {
    /// Answer queries under this name from now on.
    pub fn announce(&mut self, name: String, service: String) {
        self.discovery.identity = Some((name, service));
    }

    /// Ask for `name`, or for everybody if it is empty, until [`Endpoint::stop_query`]; answers come as `Found`.
    pub fn start_query(&mut self, now: Nanos, name: String) {
        let nonce = self.identity.draw();
        self.discovery.query = Some(Ask { name, nonce, next_ns: now });
    }

    /// Ask no longer.
    pub fn stop_query(&mut self) {
        self.discovery.query = None;
    }

    pub(super) fn poll_query(&mut self, now: Nanos, body: &mut [u8]) -> Option<Transmit> {
        let ask = self.discovery.query.as_mut().filter(|ask| now >= ask.next_ns)?;
        ask.next_ns = now + QUERY_EVERY_NS;
        let length = Query { name: &ask.name }.emit(body)? as u16;
        let (kind, number) = (PacketType::Query, ask.nonce);
        let header = Header { kind, fin: false, trailer: false, seal: None, length, conn: ConnId(0), number };
        Some(Transmit { dst: MacAddr::broadcast(), conn: None, header, content: Content::Body })
    }

    pub(super) fn on_query(&mut self, now: Nanos, packet: &Packet<'_>) -> Verdict {
        let Ok(query) = Query::parse(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        let asked = |(name, _): (&str, &str)| query.name.is_empty() || query.name == name;
        if self.discovery.identity().is_some_and(asked) && !packet.src.is_multicast() {
            self.hint(now, Reply::Announce { dst: packet.src, nonce: packet.header.number });
        }
        Verdict::Free
    }

    pub(super) fn on_announce(&mut self, packet: &Packet<'_>) -> Verdict {
        let Ok(announce) = Announce::parse(packet.body) else {
            self.counters.drop_malformed += 1;
            return Verdict::Free;
        };
        if self.discovery.query.as_ref().is_some_and(|ask| ask.nonce == announce.nonce) {
            self.out.events.push_back(Event::Found(Box::new(Found {
                mac: packet.src,
                name: announce.name.to_owned(),
                service: announce.service.to_owned(),
                mtu: announce.mtu,
            })));
        } else {
            self.counters.drop_unasked += 1;
        }
        Verdict::Free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::FrameId;
    use crate::proto::config::Config;

    fn host(last: u8) -> MacAddr {
        MacAddr::new(2, 0, 0, 0, 0, last)
    }

    fn named() -> Endpoint {
        let mut endpoint = Endpoint::new(Config::default(), host(1), 1500, (128, 64), [1; 32]);
        endpoint.announce("backup".into(), "recv".into());
        endpoint
    }

    /// A packet of host 2 to it.
    fn say(endpoint: &mut Endpoint, kind: PacketType, number: u64, body: &[u8]) {
        let (length, conn) = (body.len() as u16, ConnId(number as u32));
        let header = Header { kind, fin: false, trailer: false, seal: None, length, conn, number };
        let packet = Packet { src: host(2), header, body, frame: FrameId(0) };
        assert_eq!(endpoint.on_packet(0, &packet), Verdict::Free);
    }

    fn ask(endpoint: &mut Endpoint, number: u64) {
        let mut body = [0; 1500];
        let length = Query { name: "" }.emit(&mut body).unwrap();
        say(endpoint, PacketType::Query, number, &body[..length]);
    }

    #[test]
    fn an_answer_bears_the_querys_nonce_as_its_number() {
        let mut endpoint = named();
        ask(&mut endpoint, 0xFEED);
        let answer = endpoint.poll_transmit(0, &|_| false, &mut [0; 1500]).expect("an answer");
        assert_eq!((answer.dst, answer.header.kind, answer.header.number), (host(2), PacketType::Announce, 0xFEED));
    }

    #[test]
    fn garbage_does_not_use_up_the_answers_to_a_name() {
        let mut endpoint = named();
        for number in 0..1000 {
            say(&mut endpoint, PacketType::Data, number, &[0; 100]);
        }
        ask(&mut endpoint, 0xFEED);
        let answers = std::iter::from_fn(|| endpoint.poll_transmit(0, &|_| false, &mut [0; 1500]));
        let kinds: Vec<PacketType> = answers.map(|answer| answer.header.kind).collect();
        assert!(kinds.contains(&PacketType::Announce), "{kinds:?}");
        assert!(kinds.len() < 100, "and the garbage is answered now and then only: {kinds:?}");
    }
}
