//! The certificate and key that both ends of a QUIC benchmark know. They protect nothing: they are public.

/// The name in it.
pub const NAME: &str = "bench.example";
/// Self-signed, P-256, valid for a hundred years.
pub const CERTIFICATE: &[u8] = include_bytes!("../../rivals/certificate.pem");
/// Its key.
pub const KEY: &[u8] = include_bytes!("../../rivals/key.pem");
