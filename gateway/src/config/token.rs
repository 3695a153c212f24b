//! `[token]`: who gets in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{Secret, units};

/// `[token]`: the tokens (JWT, RFC 7519) that let clients in, and what is taken from them.
///
/// Exactly one of `secret`, `key_file` and `jwks_file` is needed. Each key fixes the algorithm of the tokens it verifies.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// The secret shared with who issues tokens (HS256), 32 bytes at least. Default none.
    pub secret: Option<Secret>,
    /// A PEM file with the issuer's public key: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA). Default none.
    pub key_file: Option<PathBuf>,
    /// A JSON Web Key Set (RFC 7517), whose keys tokens name by `kid`. Default none.
    pub jwks_file: Option<PathBuf>,
    /// Who may have issued a token (claim `iss`); empty: whoever has the key. Default empty.
    #[serde(deserialize_with = "units::texts")]
    pub issuer: Vec<String>,
    /// Whom a token may be meant for (claim `aud`); empty: only tokens that name nobody. Default empty.
    #[serde(deserialize_with = "units::texts")]
    pub audience: Vec<String>,
    /// How far the issuer's clock may be off, in whole seconds, an hour at most. Default 0 s.
    #[serde(deserialize_with = "units::duration")]
    pub leeway: Duration,
    /// Whether a client may also send its token as the query parameter `token`, which proxies like to log. Default false.
    pub allow_query: bool,
    /// The claim that names the user, a text or a whole number. Default `sub`.
    #[serde(deserialize_with = "units::text")]
    pub user_claim: String,
    /// The claim with the rooms to join, a text or a list of texts. Default none.
    pub rooms_claim: Option<String>,
    /// Claims that are copied into the session. Default none.
    #[serde(deserialize_with = "units::texts")]
    pub session_claims: Vec<String>,
    /// Whether a socket is disconnected when its token expires. Default false.
    pub disconnect_expired: bool,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            secret: None,
            key_file: None,
            jwks_file: None,
            issuer: Vec::new(),
            audience: Vec::new(),
            leeway: Duration::ZERO,
            allow_query: false,
            user_claim: "sub".into(),
            rooms_claim: None,
            session_claims: Vec::new(),
            disconnect_expired: false,
        }
    }
}

/// Where the keys come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeySource<'a> {
    Secret(&'a Secret),
    Pem(&'a Path),
    Jwks(&'a Path),
}

impl Token {
    /// Where the keys come from; `None` unless exactly one place is named.
    pub(crate) fn key_source(&self) -> Option<KeySource<'_>> {
        match (&self.secret, &self.key_file, &self.jwks_file) {
            (Some(secret), None, None) => Some(KeySource::Secret(secret)),
            (None, Some(path), None) => Some(KeySource::Pem(path)),
            (None, None, Some(path)) => Some(KeySource::Jwks(path)),
            _ => None,
        }
    }
}
