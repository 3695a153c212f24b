//! How NATS is shown who one is.

use std::path::PathBuf;

use async_nats::ConnectOptions;

use super::super::BrokerError;
use crate::url::BrokerUrl;

/// What stands in the URL for it.
pub(super) enum Login {
    Nobody,
    User(String, String),
    Token(String),
    /// The file of a seed.
    Nkey(PathBuf),
    /// The file of a JWT and a seed.
    Credentials(PathBuf),
}

impl Login {
    /// By file, where the URL names one; by the user it names otherwise.
    pub(super) fn of(url: &BrokerUrl, nkey: Option<String>, credentials: Option<String>) -> Self {
        match (nkey, credentials, url.user(), url.password()) {
            (_, Some(path), ..) => Self::Credentials(path.into()),
            (Some(path), ..) => Self::Nkey(path.into()),
            (_, _, user, Some(password)) => Self::User(user, password),
            (_, _, user, None) if user.is_empty() => Self::Nobody,
            (_, _, token, None) => Self::Token(token),
        }
    }

    /// Reads the file each time, so that it may be renewed while the process runs.
    pub(super) fn apply(&self, options: ConnectOptions) -> Result<ConnectOptions, BrokerError> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| BrokerError::Refused(format!("cannot read {}: {error}", path.display())))
        };
        Ok(match self {
            Self::Nobody => options,
            Self::User(user, password) => options.user_and_password(user.clone(), password.clone()),
            Self::Token(token) => options.token(token.clone()),
            Self::Nkey(path) => options.nkey(read(path)?.trim().to_owned()),
            // The library's own error may quote the file.
            Self::Credentials(path) => options.credentials(&read(path)?).map_err(|_| {
                let path = path.display();
                BrokerError::Refused(format!(
                    "{path} is no credentials file: it should hold a user JWT and a seed"
                ))
            })?,
        })
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::User(user, _) => write!(f, "User({user:?}, ***)"),
            Self::Token(_) => f.write_str("Token(***)"),
            Self::Nkey(path) => write!(f, "Nkey({path:?})"),
            Self::Credentials(path) => write!(f, "Credentials({path:?})"),
        }
    }
}
