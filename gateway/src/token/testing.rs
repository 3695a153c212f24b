//! Who issues tokens for tests: with keys that openssl made, in `testdata`.

use std::io::Write;
use std::path::PathBuf;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempPath};

use super::keys::install_provider;
use crate::config::{Secret, Token};

pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// One who issues tokens.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) algorithm: Algorithm,
    key: EncodingKey,
    public_pem: &'static str,
    kid: Option<&'static str>,
}

impl Issuer {
    pub(super) fn hs256() -> Self {
        Self::new(Algorithm::HS256, EncodingKey::from_secret(SECRET.as_bytes()), "")
    }

    pub(super) fn rs256() -> Self {
        let key = EncodingKey::from_rsa_pem(include_bytes!("testdata/rsa.pem")).unwrap();
        Self::new(Algorithm::RS256, key, include_str!("testdata/rsa.pub.pem"))
    }

    pub(super) fn es256() -> Self {
        let key = EncodingKey::from_ec_pem(include_bytes!("testdata/ec.pem")).unwrap();
        Self::new(Algorithm::ES256, key, include_str!("testdata/ec.pub.pem"))
    }

    pub(super) fn eddsa() -> Self {
        let key = EncodingKey::from_ed_pem(include_bytes!("testdata/ed.pem")).unwrap();
        Self::new(Algorithm::EdDSA, key, include_str!("testdata/ed.pub.pem"))
    }

    fn new(algorithm: Algorithm, key: EncodingKey, public_pem: &'static str) -> Self {
        install_provider();
        Self {
            algorithm,
            key,
            public_pem,
            kid: None,
        }
    }

    /// The same, naming its key.
    pub(super) fn kid(self, kid: &'static str) -> Self {
        Self { kid: Some(kid), ..self }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = self.kid.map(str::to_owned);
        encode(&header, claims, &self.key).unwrap()
    }

    /// Its key as a set has it.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = self.kid.map(str::to_owned);
        serde_json::to_value(jwk).unwrap()
    }

    /// A configuration that takes the tokens of this one alone, and the file with the key.
    pub(super) fn config(&self) -> (Token, Option<TempPath>) {
        if self.algorithm == Algorithm::HS256 {
            let secret = Some(Secret::new(SECRET));
            return (
                Token {
                    secret,
                    ..Token::default()
                },
                None,
            );
        }
        let file = file(self.public_pem.as_bytes());
        (with_key_file(file.to_path_buf()), Some(file))
    }
}

pub(super) fn with_key_file(path: PathBuf) -> Token {
    Token {
        key_file: Some(path),
        ..Token::default()
    }
}

pub(super) fn with_jwks_file(path: PathBuf) -> Token {
    Token {
        jwks_file: Some(path),
        ..Token::default()
    }
}

pub(super) fn file(text: &[u8]) -> TempPath {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    file.into_temp_path()
}

pub(super) fn key_set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into()
}

/// A moment this many seconds from now, as claims have it.
pub(super) fn in_seconds(seconds: i64) -> u64 {
    get_current_timestamp().saturating_add_signed(seconds)
}
