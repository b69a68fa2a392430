//! The certificate and key that both ends of a QUIC benchmark know. They protect nothing: they are public.

/// The name in it.
pub const NAME: &str = "bench.example";
/// Self-signed, P-256, valid for a hundred years.
pub const CERTIFICATE: &str = include_str!("../../rivals/certificate.pem");
/// Its key.
pub const KEY: &str = include_str!("../../rivals/key.pem");
