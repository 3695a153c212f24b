//! Who a client is, by its token.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::{MAX_ROOMS, TokenError};
use crate::config::Token;

/// What the claims of a valid token say of a client.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Identity {
    /// The user; `None` where the token names none.
    pub(crate) user: Option<String>,
    /// The rooms to join.
    pub(crate) rooms: Vec<String>,
    /// The claims that belong into the session.
    pub(crate) session: Map<String, Value>,
    /// All claims.
    pub(crate) claims: Map<String, Value>,
    /// When the token ends, `token.leeway` included; `None` for one that does not.
    pub(crate) expires: Option<SystemTime>,
}

impl Identity {
    pub(super) fn new(config: &Token, claims: Map<String, Value>) -> Result<Self, TokenError> {
        let named = |claim: &str| claims.get(claim).filter(|value| !value.is_null());
        let session = config
            .session_claims
            .iter()
            .filter_map(|claim| Some((claim.clone(), named(claim)?.clone())));
        let rooms = config
            .rooms_claim
            .as_ref()
            .and_then(|claim| Some((claim, named(claim)?)));
        Ok(Self {
            user: named(&config.user_claim)
                .map(|value| user(&config.user_claim, value))
                .transpose()?,
            rooms: rooms.map_or(Ok(Vec::new()), |(claim, value)| self::rooms(claim, value))?,
            session: session.collect(),
            expires: named("exp").and_then(|value| expires(value, config.leeway)),
            claims,
        })
    }
}

fn user(claim: &str, value: &Value) -> Result<String, TokenError> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        _ => Err(wrong(claim, "a text that is not empty, or a whole number")),
    }
}

fn rooms(claim: &str, value: &Value) -> Result<Vec<String>, TokenError> {
    let room = |value: &Value| value.as_str().map(str::to_owned);
    let rooms: Option<Vec<String>> = match value {
        Value::Array(values) if values.len() > MAX_ROOMS => return Err(TokenError::TooManyRooms),
        Value::Array(values) => values.iter().map(room).collect(),
        value => room(value).map(|room| vec![room]),
    };
    rooms.ok_or_else(|| wrong(claim, "a text or a list of texts"))
}

/// The library has found the claim to be a number of seconds.
fn expires(value: &Value, leeway: Duration) -> Option<SystemTime> {
    let seconds = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(seconds)?.checked_add(leeway)
}

fn wrong(claim: &str, expected: &'static str) -> TokenError {
    TokenError::WrongClaim {
        claim: claim.to_owned(),
        expected,
    }
}
