//! The test vectors of `docs/WIRE.md`: what the document says of keys, MACs, the handshake and sealed packets is worked
//! out here from its words with the primitives alone, and again by the code that runs; all three must agree.

use std::collections::BTreeMap;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use farwire::base::{ConnId, FrameId, MacAddr, StreamId};
use farwire::crypto::{
    Cipher, Drbg, Initiation, Key, Keyring, NamedKey, Protection, Rekey, Response, Secrets, Subject,
};
use farwire::proto::config::{Config, Security};
use farwire::proto::{Endpoint, Packet};
use farwire::wire::header::{emit_trailer, split_data};
use farwire::wire::sealed::{ANSWER_LEN, NOISE_LEN, OFFER_LEN};
use farwire::wire::{
    Answer, Ask, ETHERNET_LEN, ETHERTYPE, HEADER_LEN, Header, Item, Items, Offer, PacketType, Params, Reset,
    SealedAccept, SealedCookie, SealedOpen, SealedReset, StreamHeader, TAG_LEN, VERSION,
};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Dh, Hash, Random};

#[path = "../fuzz/src/seeds.rs"]
pub mod seeds;

const A: MacAddr = MacAddr(2, 0, 0, 0, 0x0A, 1);
const B: MacAddr = MacAddr(2, 0, 0, 0, 0x0B, 2);
const A_CONN: ConnId = ConnId(0x0001_0001);
const B_CONN: ConnId = ConnId(0x0102_0003);
const NONCE: u64 = 0x1122_3344_5566_7788;
const ASK_NONCE: u64 = 0x0BAD_CAFE_1234_5678;
/// What both sides draw their ephemeral keys from.
const SEEDS: [[u8; 32]; 2] = [[0xA1; 32], [0xB2; 32]];
const A_PARAMS: Params =
    Params { mtu: 1500, streams: 256, conn_credit: 4096, stream_credit: 1 << 20, idle_timeout_ms: 30_000 };
const B_PARAMS: Params =
    Params { mtu: 9000, streams: 16, conn_credit: 8192, stream_credit: 4 << 20, idle_timeout_ms: 0 };

/// The key of the document: bytes 0 to 31. Nobody may use it.
fn test_key() -> Key {
    Key::from_bytes(std::array::from_fn(|at| at as u8))
}

fn derive(context: &str, from: &[u8]) -> [u8; 32] {
    blake3::derive_key(&format!("farwire 2026-11-21 v1 {context}"), from)
}

/// What the document's words make of its inputs.
struct Words {
    values: BTreeMap<&'static str, Vec<u8>>,
}

impl Words {
    fn new() -> Words {
        let key: [u8; 32] = std::array::from_fn(|at| at as u8);
        let mut words = Words { values: BTreeMap::new() };
        words.put("key", key);
        words.put("key id", &derive("key id", &key)[..8]);
        words.put("noise psk", derive("noise psk", &key));
        words.put("reply key", derive("replies", &key));
        words.put("prologue", words.prologue());
        let offer = [&params(A_PARAMS)[..], &[3, 1, 0, 0]].concat();
        let answer = [&params(B_PARAMS)[..], &B_CONN.0.to_be_bytes(), &[1, 0, 0, 0]].concat();
        words.put("offer", &offer);
        words.put("answer", &answer);
        words.put("initiator's ephemeral private key", ephemeral(SEEDS[0]));
        words.put("responder's ephemeral private key", ephemeral(SEEDS[1]));
        words.handshake(&offer, &answer);
        for (secret, of) in
            [("secret to the responder", "to the responder"), ("secret to the initiator", "to the initiator")]
        {
            let first = words.get(secret);
            for (epoch, secret) in [first.clone(), derive("next epoch", &first).to_vec()].into_iter().enumerate() {
                let [key, iv] = ["key", "iv"].map(|what| &*format!("{what} {of}, epoch {epoch}").leak());
                words.put(key, derive("packet key", &secret));
                words.put(iv, &derive("packet iv", &secret)[..12]);
            }
        }
        words
    }

    fn put(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        self.values.insert(name, value.as_ref().to_vec());
    }

    fn get(&self, name: &str) -> Vec<u8> {
        self.values.get(name).unwrap_or_else(|| panic!("no {name}")).clone()
    }

    /// "farwire", the version, the EtherType, both addresses, and the OPEN's first 24 bytes as without a cookie.
    fn prologue(&self) -> Vec<u8> {
        let head = [&A_CONN.0.to_be_bytes()[..], &NONCE.to_be_bytes(), &[0; 4], &self.get("key id")].concat();
        [b"farwire", &[VERSION][..], &ETHERTYPE.to_be_bytes(), &A.octets(), &B.octets(), &head].concat()
    }

    fn handshake(&mut self, offer: &[u8], answer: &[u8]) {
        let psk: [u8; 32] = self.get("noise psk").try_into().unwrap();
        let ephemerals = ["initiator's", "responder's"].map(|who| self.get(&format!("{who} ephemeral private key")));
        let prologue = self.get("prologue");
        let builder = |at: usize| {
            let pattern = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s".parse().unwrap();
            let builder = snow::Builder::with_resolver(pattern, Box::new(NothingRandom(DefaultResolver)));
            let builder = builder.fixed_ephemeral_key_for_testing_only(&ephemerals[at]);
            builder.psk(0, &psk).unwrap().prologue(&prologue).unwrap()
        };
        let (mut a, mut b) = (builder(0).build_initiator().unwrap(), builder(1).build_responder().unwrap());
        let (mut first, mut second, mut read) = ([0; NOISE_LEN + OFFER_LEN], [0; NOISE_LEN + ANSWER_LEN], [0; 100]);
        assert_eq!(a.write_message(offer, &mut first).unwrap(), first.len());
        let len = b.read_message(&first, &mut read).unwrap();
        assert_eq!(&read[..len], offer);
        assert_eq!(b.write_message(answer, &mut second).unwrap(), second.len());
        a.read_message(&second, &mut read).unwrap();
        let (to_responder, to_initiator) = a.dangerously_get_raw_split();
        self.put("first message", first);
        self.put("second message", second);
        self.put("secret to the responder", to_responder);
        self.put("secret to the initiator", to_initiator);
    }

    /// BLAKE3 under the reply key over the subject, both addresses and what is covered.
    fn mac(&self, subject: u8, (from, to): (MacAddr, MacAddr), covered: &[u8]) -> [u8; 16] {
        let text = [&[subject][..], &from.octets(), &to.octets(), covered].concat();
        let hash = blake3::keyed_hash(&self.get("reply key").try_into().unwrap(), &text);
        hash.as_bytes()[..16].try_into().unwrap()
    }

    /// The body of a sealed packet, opened as the document says.
    fn open(&self, algorithm: &'static Algorithm, to: &str, epoch: u64, packet: &[u8]) -> Option<Vec<u8>> {
        let (header, sealed) = packet.split_at(HEADER_LEN);
        let mut nonce: [u8; 12] = self.get(&format!("iv to the {to}, epoch {epoch}")).try_into().unwrap();
        nonce[4..].iter_mut().zip(&header[8..]).for_each(|(byte, number)| *byte ^= number);
        let key = UnboundKey::new(algorithm, &self.get(&format!("key to the {to}, epoch {epoch}"))).unwrap();
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let mut sealed = sealed[..length + TAG_LEN].to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let open = LessSafeKey::new(key).open_in_place(nonce, Aad::from(header), &mut sealed).ok()?.to_vec();
        Some(open)
    }
}

/// The crate's primitives, and no random numbers: both ephemeral keys are given.
struct NothingRandom(DefaultResolver);

impl CryptoResolver for NothingRandom {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Nothing))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        self.0.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        self.0.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn snow::types::Cipher>> {
        self.0.resolve_cipher(choice)
    }
}

struct Nothing;

impl Random for Nothing {
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), snow::Error> {
        panic!("a random number was asked for")
    }
}

/// Params as the document lays them out.
fn params(params: Params) -> Vec<u8> {
    let Params { mtu, streams, conn_credit, stream_credit, idle_timeout_ms } = params;
    let head = [&mtu.to_be_bytes()[..], &[0; 2], &streams.to_be_bytes(), &idle_timeout_ms.to_be_bytes()].concat();
    [&head[..], &conn_credit.to_be_bytes(), &stream_credit.to_be_bytes()].concat()
}

/// The ephemeral key that a handshake draws whose generator begins with `seed`.
fn ephemeral(seed: [u8; 32]) -> [u8; 32] {
    let (mut own, mut out) = ([0; 32], [0; 32]);
    Drbg::new(seed).fork().fill(&mut own);
    Drbg::new(own).fill(&mut out);
    out
}

/// The same by the code that runs.
struct Code {
    key: NamedKey,
    open: SealedOpen,
    open_with_cookie: SealedOpen,
    cookie: SealedCookie,
    accept: SealedAccept,
    /// The secrets of both sides.
    secrets: [Secrets; 2],
}

impl Code {
    fn new(prologue: &[u8]) -> Code {
        let key = NamedKey::new("test", test_key());
        let (id, reply) = (key.key.id(), key.reply());
        let mut message = [0; NOISE_LEN + OFFER_LEN];
        let offer = Offer { params: A_PARAMS, ciphers: Cipher::ALL, prefers: Cipher::Aes256Gcm as u8 };
        let begin = Initiation::begin(&key.key, prologue, &offer.to_bytes(), &mut Drbg::new(SEEDS[0]), &mut message);
        let mut initiation = begin.unwrap();
        let mut open = SealedOpen { conn: A_CONN, nonce: NONCE, key: id, message, cookie: None, mac: [0; 16] };
        open.mac = reply.mac(Subject::Open, (A, B), &open.covered());
        let mut cookie = SealedCookie { nonce: NONCE, cookie: [0; 24], mac: [0; 16] };
        cookie.cookie[..8].copy_from_slice(&0x0000_018C_0A1B_2C3D_u64.to_be_bytes());
        (8..24).for_each(|at| cookie.cookie[at] = 0xA0 + at as u8 - 8);
        cookie.mac = reply.mac(Subject::Cookie, (B, A), &cookie.covered());
        let mut open_with_cookie = SealedOpen { cookie: Some(cookie.cookie), ..open };
        open_with_cookie.mac = reply.mac(Subject::Open, (A, B), &open_with_cookie.covered());

        let mut read = [0; OFFER_LEN];
        let response = Response::read(&key.key, prologue, &message, &mut Drbg::new(SEEDS[1]), &mut read).unwrap();
        assert_eq!(Offer::parse(&read), Ok(offer));
        let cipher = Cipher::agree(offer.ciphers, offer.prefers, Cipher::Aes256Gcm).unwrap();
        let answer = Answer { params: B_PARAMS, conn: B_CONN, cipher: cipher as u8 };
        let mut accept = SealedAccept { nonce: NONCE, message: [0; NOISE_LEN + ANSWER_LEN], mac: [0; 16] };
        let theirs = response.answer(&answer.to_bytes(), &mut accept.message).unwrap();
        accept.mac = reply.mac(Subject::Accept, (B, A), &accept.covered());
        let mut read = [0; ANSWER_LEN];
        let ours = initiation.finish(&accept.message, &mut read).unwrap();
        assert_eq!(Answer::parse(&read), Ok(answer));
        Code { key, open, open_with_cookie, cookie, accept, secrets: [ours, theirs] }
    }

    fn ask(&self) -> Ask {
        let mac = self.key.reply().mac(Subject::Ask, (A, B), &Ask::covered(B_CONN, ASK_NONCE));
        Ask { key: self.key.key.id(), nonce: ASK_NONCE, mac }
    }

    fn reset(&self, why: Reset, subject: Subject, conn: ConnId, number: u64) -> SealedReset {
        let covered = [&[why as u8][..], &conn.0.to_be_bytes(), &number.to_be_bytes()].concat();
        SealedReset { why, mac: self.key.reply().mac(subject, (B, A), &covered) }
    }

    /// Both sides' keys, the initiator's in its second epoch.
    fn protections(self, cipher: Cipher) -> [Protection; 2] {
        let rekey = Rekey { packets: 1000, after_ns: u64::MAX };
        let [ours, theirs] = self.secrets;
        let mut a = Protection::new(ours, cipher, true, rekey, 0);
        assert_eq!(a.phase_of(0, 1000, 1000), (1, true));
        [a, Protection::new(theirs, cipher, false, rekey, 0)]
    }
}

/// All frames of the document that a key has to do with, by its titles.
fn frames() -> BTreeMap<&'static str, Vec<u8>> {
    let words = Words::new();
    let code = || Code::new(&words.get("prologue"));
    let (this, mut out) = (code(), BTreeMap::new());
    let mut put = |title, way, kind, ids, emit: &dyn Fn(&mut [u8]) -> usize| {
        let mut body = [0; 300];
        let length = emit(&mut body);
        let seal = (kind != PacketType::Ask).then_some(0);
        let header = header(kind, seal, length, ids);
        out.insert(title, frame(way, &header, &body[..length], None));
    };
    put("sealed OPEN", (A, B), PacketType::Open, (ConnId(0), 0), &|out| this.open.emit(out));
    put("sealed OPEN with cookie", (A, B), PacketType::Open, (ConnId(0), 0), &|out| this.open_with_cookie.emit(out));
    put("sealed COOKIE", (B, A), PacketType::Cookie, (A_CONN, 0), &|out| this.cookie.emit(out));
    put("sealed ACCEPT", (B, A), PacketType::Accept, (A_CONN, 0), &|out| this.accept.emit(out));
    let full = this.reset(Reset::Full, Subject::Refusal, A_CONN, NONCE);
    put("sealed RESET to an OPEN", (B, A), PacketType::Reset, (A_CONN, NONCE), &|out| full.emit(out));
    let gone = this.reset(Reset::UnknownConnection, Subject::Gone, B_CONN, ASK_NONCE);
    put("sealed RESET to an ASK", (B, A), PacketType::Reset, (B_CONN, ASK_NONCE), &|out| gone.emit(out));
    put("ASK", (A, B), PacketType::Ask, (B_CONN, 0), &|out| this.ask().emit(out));
    let [a, b] = code().protections(Cipher::Aes256Gcm);
    let (data, body) = data();
    out.insert("sealed DATA", frame((A, B), &data, &body, Some(&a)));
    let (control, body) = control();
    out.insert("sealed CONTROL", frame((B, A), &control, &body, Some(&b)));
    out
}

fn header(kind: PacketType, seal: Option<u8>, length: usize, (conn, number): (ConnId, u64)) -> Header {
    Header { kind, fin: false, trailer: false, seal, length: length as u16, conn, number }
}

/// The last segment of a stream, with an item behind it.
fn data() -> (Header, Vec<u8>) {
    let stream = StreamHeader { stream: StreamId(4), lowest_distance: 7, offset: 1448 };
    let mut body = [&stream.to_bytes()[..], b"farwire!"].concat();
    let (mut item, mut count) = ([0; 9], [0; 2]);
    let length = Item::ConnCredit { segments: 5000 }.emit(&mut item).unwrap();
    emit_trailer(&mut count, length as u16);
    body.extend([&item[..], &count].concat());
    let header = header(PacketType::Data, Some(1), body.len(), (B_CONN, 1001));
    (Header { fin: true, trailer: true, ..header }, body)
}

fn control() -> (Header, Vec<u8>) {
    let mut body = vec![0; 10];
    let length = Item::Lowest { number: 61 }.emit(&mut body).unwrap();
    Item::Probe.emit(&mut body[length..]).unwrap();
    (header(PacketType::Control, Some(0), body.len(), (A_CONN, 88)), body)
}

/// A frame, sealed by `keys`, or with its checksum.
fn frame((from, to): (MacAddr, MacAddr), header: &Header, body: &[u8], keys: Option<&Protection>) -> Vec<u8> {
    let head = header.to_bytes();
    let mut packet = [&head[..], body].concat();
    match keys {
        Some(keys) => {
            let tag = keys.seal(header.seal.unwrap(), header.number, &head, &mut packet[HEADER_LEN..]).unwrap();
            packet.extend(tag);
        }
        None => {
            packet.extend([0; 4]);
            farwire::wire::crc::emit(&mut packet, header.end());
        }
    }
    let mut frame = [&to.octets()[..], &from.octets(), &farwire::wire::ETHERTYPE.to_be_bytes(), &packet].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

fn document() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/WIRE.md")).unwrap()
}

/// The document's example of this title: its packet, from the outer header on.
fn example(title: &str) -> Vec<u8> {
    let examples = seeds::examples(&document());
    let found = examples.into_iter().find(|example| example.title == title);
    found.unwrap_or_else(|| panic!("no example {title}")).bytes[ETHERNET_LEN..].to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_documents_values_follow_from_its_words() {
    let document = document();
    let (_, block) = document.split_once("```vectors\n").expect("a block of vectors");
    let lines = block.split_once("```").unwrap().0.lines().map(str::trim_end);
    // A long value goes on in lines that begin with spaces.
    let mut shown: Vec<(String, String)> = Vec::new();
    for line in lines {
        match (line.rsplit_once("  "), shown.last_mut()) {
            (Some((name, more)), Some(last)) if name.trim().is_empty() => last.1 += more.trim(),
            (Some((name, value)), _) => shown.push((name.trim().to_owned(), value.trim().to_owned())),
            _ => panic!("{line:?}"),
        }
    }
    let shown: BTreeMap<String, String> = shown.into_iter().collect();
    let words = Words::new();
    let right = words.values.iter().map(|(name, value)| ((*name).to_owned(), hex(value)));
    assert_eq!(shown, right.collect());
}

#[test]
fn the_code_comes_to_the_documents_bytes() {
    let words = Words::new();
    for (title, frame) in frames() {
        assert_eq!(hex(&example(title)), hex(&frame[ETHERNET_LEN..]), "{title}");
    }
    assert_eq!(test_key().id().to_string(), hex(&words.get("key id")));
    let code = Code::new(&words.get("prologue"));
    assert_eq!(hex(&code.open.message), hex(&words.get("first message")));
    assert_eq!(hex(&code.accept.message), hex(&words.get("second message")));
}

#[test]
fn the_documents_macs_cover_what_it_says() {
    let words = Words::new();
    let body = |title| {
        let packet = example(title);
        let header = Header::parse(&packet).unwrap();
        header.body(&packet).unwrap().to_vec()
    };
    // All in front of it.
    for (title, subject, way) in [
        ("sealed OPEN", 1, (A, B)),
        ("sealed OPEN with cookie", 1, (A, B)),
        ("sealed COOKIE", 2, (B, A)),
        ("sealed ACCEPT", 3, (B, A)),
    ] {
        let body = body(title);
        let (covered, mac) = body.split_at(body.len() - 16);
        assert_eq!(hex(mac), hex(&words.mac(subject, way, covered)), "{title}");
    }
    // The code, connection id and packet number; of an ASK the connection id and the nonce.
    let about = |conn: ConnId, number: u64| [&conn.0.to_be_bytes()[..], &number.to_be_bytes()].concat();
    let full = [&[2][..], &about(A_CONN, NONCE)].concat();
    assert_eq!(hex(&body("sealed RESET to an OPEN")[1..]), hex(&words.mac(4, (B, A), &full)));
    assert_eq!(hex(&body("ASK")[16..]), hex(&words.mac(5, (A, B), &about(B_CONN, ASK_NONCE))));
    let gone = [&[0][..], &about(B_CONN, ASK_NONCE)].concat();
    assert_eq!(hex(&body("sealed RESET to an ASK")[1..]), hex(&words.mac(6, (B, A), &gone)));
}

#[test]
fn the_documents_sealed_packets_open_and_none_with_a_flipped_bit_does() {
    let words = Words::new();
    let packets = [("sealed DATA", "responder", 1, data().1), ("sealed CONTROL", "initiator", 0, control().1)];
    for (title, to, epoch, plain) in packets {
        let packet = example(title);
        let header = Header::parse(&packet).unwrap();
        let end = header.end() + header.tail_len();
        assert_eq!(u64::from(header.seal.unwrap()), epoch, "the phase names the epoch");
        assert_eq!(words.open(&AES_256_GCM, to, epoch, &packet), Some(plain.clone()), "{title}");
        assert_eq!(words.open(&AES_256_GCM, to, 1 - epoch, &packet), None);
        let [mut a, mut b] = Code::new(&words.get("prologue")).protections(Cipher::Aes256Gcm);
        let by = if to == "responder" { &mut b } else { &mut a };
        let mut opens = |packet: &[u8]| {
            let (head, sealed) = packet[..end].split_at(HEADER_LEN);
            let mut sealed = sealed.to_vec();
            // What its receiver would take it for.
            let Ok(header) = Header::parse(head) else { return false };
            let Some(phase) = header.seal.filter(|_| header.end() + header.tail_len() <= end) else { return false };
            let sealed = &mut sealed[..header.end() + header.tail_len() - HEADER_LEN];
            by.open(phase, header.number, head, sealed) && sealed[..plain.len()] == plain
        };
        for bit in 0..8 * end {
            let mut changed = packet.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!opens(&changed), "{title}: bit {bit}");
        }
        assert!(opens(&packet), "{title}");
    }
    let (body, document) = (data().1, document());
    let (_, plain) = document.split_once("```plain\n").expect("what the DATA packet opens to");
    let words = plain.lines().take_while(|line| *line != "```").flat_map(|line| line.split('#').next());
    assert_eq!(words.flat_map(str::split_whitespace).collect::<String>(), hex(&body));
    let (stream, payload, items) = split_data(&body, true).unwrap();
    assert_eq!((stream.offset, &body[payload]), (1448, &b"farwire!"[..]));
    assert_eq!(Items::new(items).next(), Some(Ok(Item::ConnCredit { segments: 5000 })));
}

#[test]
fn under_the_other_cipher_the_words_hold_as_well() {
    let words = Words::new();
    let [a, _] = Code::new(&words.get("prologue")).protections(Cipher::ChaCha20Poly1305);
    let (header, body) = data();
    let packet = &frame((A, B), &header, &body, Some(&a))[ETHERNET_LEN..];
    assert_eq!(words.open(&CHACHA20_POLY1305, "responder", 1, packet), Some(body));
    let tag = hex(&packet[header.end()..header.end() + TAG_LEN]);
    assert!(document().contains(&format!("`{tag}`")), "{tag}");
}

/// The prologue is built where it is used: an endpoint with the key takes the document's OPEN for its peer's.
#[test]
fn an_endpoint_answers_the_documents_open() {
    for title in ["sealed OPEN", "sealed OPEN with cookie"] {
        let security = Security::Keys(Keyring::new(NamedKey::new("test", test_key())));
        let mut endpoint = Endpoint::new(Config { security, ..Config::default() }, B, 1500, (256, 128), [9; 32]);
        endpoint.set_listening(true);
        let packet = example(title);
        let header = Header::parse(&packet).unwrap();
        let body = header.body(&packet).unwrap();
        let mut changed = body.to_vec();
        changed[30] ^= 1;
        for (body, answered) in [(&changed[..], None), (body, Some(PacketType::Accept))] {
            endpoint.on_packet(0, &Packet { src: A, header, body, frame: FrameId(0) });
            let answer = endpoint.poll_transmit(0, &|_| false, &mut [0; 1500]);
            assert_eq!(answer.map(|sent| sent.header.kind), answered, "{title}");
        }
    }
}
