//! Who issues tokens.

use hallporter::config::{Config, Secret, Token};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::Value;

use crate::scene::config;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Settings of a gateway that takes the tokens of [`token`], with these settings for them.
pub(super) fn with_tokens(token: Token) -> Config {
    let secret = Some(Secret::new(SECRET));
    Config {
        token: Some(Token { secret, ..token }),
        ..config()
    }
}

/// A token with these claims.
pub(super) fn token(claims: &Value) -> String {
    signed(claims, SECRET)
}

/// A token that somebody signed who has another secret.
pub(super) fn forged(claims: &Value) -> String {
    signed(claims, "fedcba9876543210fedcba9876543210")
}

#[expect(clippy::expect_used, reason = "claims and a key of the tests")]
fn signed(claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
}

/// A moment this many seconds from now, as claims have it.
pub(super) fn in_seconds(seconds: i64) -> u64 {
    get_current_timestamp().saturating_add_signed(seconds)
}
