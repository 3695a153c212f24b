//! What is wrong with a token, or with the keys.

use std::io;
use std::path::PathBuf;

use jsonwebtoken::errors::{Error, ErrorKind};
use serde_json::json;

use super::{MAX_ROOMS, MAX_TOKEN};
use crate::Refusal;
use crate::config::{KeySource, Token};

/// Why a token lets nobody in, in words for who writes the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("no token was sent; send it as the text \"token\" of auth")]
    Missing,
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("the token is no JWT, or its algorithm is not known here")]
    Malformed,
    #[error("the token has a critical header, and none is known here")]
    Critical,
    #[error("no key here is of the token's algorithm")]
    Algorithm,
    #[error("the token names a key (kid) that is not known here")]
    UnknownKey,
    #[error("the token names no key (kid), and there are several")]
    NoKeyNamed,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token's issuer (iss) is another")]
    WrongIssuer,
    #[error("the token is meant for another audience (aud)")]
    WrongAudience,
    #[error("the token's claim {claim:?} must be {expected}")]
    WrongClaim { claim: String, expected: &'static str },
    #[error("the token names more than {MAX_ROOMS} rooms")]
    TooManyRooms,
}

impl TokenError {
    /// The reason in metrics; with `token_` before it, the code that the client gets.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLong
            | Self::Malformed
            | Self::Critical
            | Self::Algorithm
            | Self::UnknownKey
            | Self::NoKeyNamed
            | Self::Signature => "invalid",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::WrongClaim { .. } | Self::TooManyRooms => "wrong_claim",
        }
    }
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        match error.into_kind() {
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidAlgorithm => Self::Algorithm,
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::NotYetValid,
            ErrorKind::InvalidIssuer => Self::WrongIssuer,
            ErrorKind::InvalidAudience => Self::WrongAudience,
            ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => Self::WrongIssuer,
            ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Self::WrongAudience,
            ErrorKind::InvalidClaimFormat(claim) => Self::WrongClaim {
                claim,
                expected: "a number, of seconds since 1970",
            },
            _ => Self::Malformed,
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let code = format!("token_{}", error.reason());
        Self::new("not authorized").data(json!({"code": code, "message": error.to_string()}))
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum TokenConfigError {
    /// Not exactly one place was named.
    #[error("must have exactly one of secret, key_file and jwks_file")]
    Source,
    /// It would let expired tokens in for long.
    #[error("must allow a leeway of an hour at most")]
    Leeway,
    /// RFC 7518 wants as many bits as the hash has.
    #[error("must have a secret of 32 bytes at least; `openssl rand -base64 32` makes one")]
    WeakSecret,
    /// The file cannot be read.
    #[error("{path} cannot be read: {error}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The file is no file of keys.
    #[error("{path} {problem}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and how to put it right.
        problem: String,
    },
}

impl TokenConfigError {
    /// The key of the configuration that it is about.
    pub(crate) fn key(&self, config: &Token) -> &'static str {
        match (self, config.key_source()) {
            (Self::Leeway, _) => "token.leeway",
            (_, Some(KeySource::Secret(_))) => "token.secret",
            (_, Some(KeySource::Pem(_))) => "token.key_file",
            (_, Some(KeySource::Jwks(_))) => "token.jwks_file",
            (_, None) => "token",
        }
    }
}
