//! Who gets in: the tokens of clients (JWT, RFC 7519), and what they say.
//!
//! `keys.rs` verifies, `store.rs` keeps the keys up to date, `identity.rs` says what claims mean.

mod error;
mod identity;
mod keys;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use metrics::counter;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;
use url::form_urlencoded;

use crate::config::{KeySource, Token};
use crate::metric;
use keys::Keys;
use store::KeyStore;

pub use error::TokenConfigError;
pub(crate) use error::TokenError;
pub(crate) use identity::Identity;

/// The longest token, in bytes.
const MAX_TOKEN: usize = 8 << 10;

/// The most rooms a token may name.
const MAX_ROOMS: usize = 256;

/// What decides by tokens who gets in.
#[derive(Debug)]
pub(crate) struct Tokens {
    config: Token,
    store: Arc<KeyStore>,
    /// Keeps the keys of a file up to date, as long as this is there.
    _keeping: Option<AbortOnDropHandle<()>>,
}

impl Tokens {
    /// Reads the keys. Where they stand in a file they are read anew when it changes, which needs a tokio runtime.
    pub(crate) fn new(config: &Token) -> Result<Self, TokenConfigError> {
        let store = Arc::new(KeyStore::open(config)?);
        let is_file = !matches!(config.key_source(), Some(KeySource::Secret(_)));
        let keeping = is_file.then(|| AbortOnDropHandle::new(tokio::spawn(store.clone().keep())));
        Ok(Self {
            config: config.clone(),
            store,
            _keeping: keeping,
        })
    }

    /// The token a client shows when it connects: the text `token` of what it sent as `auth`, with or without `Bearer` before it,
    /// or else, where that is allowed, the parameter `token` of the query.
    pub(crate) fn find<'a>(&self, auth: &'a Value, query: &'a str) -> Option<Cow<'a, str>> {
        let in_auth = || {
            let token = auth.get("token")?.as_str()?;
            Some(Cow::Borrowed(bearer(token).unwrap_or(token)))
        };
        let in_query = || {
            let mut pairs = form_urlencoded::parse(query.as_bytes()).filter(|_| self.config.allow_query);
            Some(pairs.find(|(key, _)| key == "token")?.1)
        };
        let is_there = |token: &Cow<'_, str>| !token.is_empty();
        in_auth().filter(is_there).or_else(|| in_query().filter(is_there))
    }

    /// The identity of who shows this token, or none; one who `must` show a token has to.
    pub(crate) fn identify(&self, token: Option<&str>, must: bool) -> Result<Option<Identity>, TokenError> {
        match token {
            Some(token) => self.verify(token).map(Some),
            None if must => Err(counted(TokenError::Missing)),
            None => Ok(None),
        }
    }

    /// The identity that a token proves. On a key that is not known the file is looked at, once a second at most.
    ///
    /// Takes, on one core and with optimisation, about 3 µs (HS256), 50 µs (EdDSA), 160 µs (RS256 of 2048 bits) or 300 µs (ES256).
    pub(crate) fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        self.check(token).map_err(counted)
    }

    fn check(&self, token: &str) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let claims = match self.store.keys().verify(token) {
            Err(TokenError::UnknownKey) => {
                self.store.look_early();
                self.store.keys().verify(token)?
            }
            verified => verified?,
        };
        Identity::new(&self.config, claims)
    }
}

/// Whether there are keys to be had.
pub(crate) fn check(config: &Token) -> Result<(), TokenConfigError> {
    Keys::parse(config, &keys::read(config)?).map(drop)
}

/// The token of an HTTP call: `Authorization: Bearer …`.
pub(crate) fn of_call(headers: &HeaderMap) -> Option<&str> {
    bearer(headers.get(AUTHORIZATION)?.to_str().ok()?)
}

/// What follows the scheme `Bearer`, whose case does not matter (RFC 7235, section 2.1).
fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn counted(error: TokenError) -> TokenError {
    counter!(metric::TOKENS_REFUSED, "reason" => error.reason()).increment(1);
    error
}
