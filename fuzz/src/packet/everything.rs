//! Every parser over the same bytes.

use farwire::wire::header::split_data;
use farwire::wire::version::parse_version;
use farwire::wire::{
    Accept, Announce, Answer, Ask, Confirm, CookieReply, Ethernet, Header, Items, Offer, Open, Ping, Query, Reset,
    SealedAccept, SealedCookie, SealedOpen, SealedReset, crc,
};

/// Every parser over the same bytes; each result lies within them.
pub fn parse(bytes: &[u8]) {
    _ = Ethernet::parse(bytes);
    _ = Header::peek(bytes);
    if let Ok(header) = Header::parse(bytes) {
        assert_eq!(header.body(bytes).is_ok(), header.end() <= bytes.len());
        _ = crc::check(bytes, header.end());
    }
    _ = (Open::parse(bytes).is_ok(), Open::peek(bytes), Accept::parse(bytes).is_ok());
    _ = (CookieReply::parse(bytes).is_ok(), Confirm::parse(bytes).is_ok(), Ping::parse(bytes).is_ok());
    _ = (Query::parse(bytes).is_ok(), Announce::parse(bytes).is_ok(), parse_version(bytes).is_ok());
    _ = (Reset::parse(bytes).is_ok(), SealedReset::parse(bytes).is_ok(), SealedOpen::parse(bytes).is_ok());
    _ = (SealedAccept::parse(bytes).is_ok(), SealedCookie::parse(bytes).is_ok(), Ask::parse(bytes).is_ok());
    _ = (Offer::parse(bytes).is_ok(), Answer::parse(bytes).is_ok());
    for (_, payload, items) in [false, true].into_iter().flat_map(|trailer| split_data(bytes, trailer)) {
        assert!(payload.start <= payload.end && payload.end + items.len() <= bytes.len());
    }
    let mut total = 0;
    for item in Items::new(bytes).flatten() {
        total += item.len();
    }
    assert!(total <= bytes.len(), "items of {total} bytes out of {}", bytes.len());
}
