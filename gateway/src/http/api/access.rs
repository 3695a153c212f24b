//! Who may use the API.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::middleware::Next;
use axum::response::Response;
use hallporter_adapters::url::Scheme;
use subtle::ConstantTimeEq;

use super::error::ApiError;
use crate::config::{ApiKey, Config, Scope};

/// Who may use the API.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// Nobody.
    Off,
    /// Whoever shows one of these keys, for what it is good for.
    Keys(Arc<[ApiKey]>),
    /// Whoever is on this machine; for a gateway that has neither a broker nor a key.
    Loopback,
}

/// The way to one part of the API.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    access: Access,
    scope: Scope,
}

impl Access {
    pub(super) fn new(config: &Config, listen: Option<SocketAddr>) -> Self {
        let keys: Arc<[ApiKey]> = config.api.all().map(|(_, key)| key).collect();
        let is_on_loopback = listen.is_some_and(|address| address.ip().is_loopback());
        if !keys.is_empty() {
            Self::Keys(keys)
        } else if is_on_loopback && config.manager.url.scheme() == Scheme::Memory {
            Self::Loopback
        } else {
            Self::Off
        }
    }

    fn check(&self, headers: &HeaderMap, scope: Scope) -> Result<(), ApiError> {
        match self {
            Self::Off => Err(ApiError::forbidden(
                "the HTTP API is off; set api.key (HALLPORTER_API__KEY) to turn it on",
            )),
            Self::Keys(keys) => match shown(keys, bearer(headers).unwrap_or_default()) {
                None => Err(ApiError::unauthenticated()),
                Some(key) if key.scopes.contains(&scope) => Ok(()),
                Some(key) => Err(ApiError::forbidden(format!(
                    "the key {:?} lacks the scope {scope:?}",
                    key.name,
                    scope = scope.to_string()
                ))),
            },
            // A page that made its own name point here would still say its own name.
            Self::Loopback if is_loopback(header(headers, &HOST)) => Ok(()),
            Self::Loopback => Err(ApiError::forbidden(
                "without api.key the HTTP API answers to localhost only",
            )),
        }
    }
}

impl Pass {
    pub(super) const fn new(access: Access, scope: Scope) -> Self {
        Self { access, scope }
    }
}

/// Lets pass who may.
pub(super) async fn check(State(pass): State<Pass>, request: Request, next: Next) -> Result<Response, ApiError> {
    pass.access.check(request.headers(), pass.scope)?;
    Ok(next.run(request).await)
}

/// The key that was shown. All are compared, each in a time that tells nothing of it.
fn shown<'a>(keys: &'a [ApiKey], shown: &str) -> Option<&'a ApiKey> {
    let is_shown = |key: &ApiKey| bool::from(key.key.reveal().as_bytes().ct_eq(shown.as_bytes()));
    keys.iter()
        .fold(None, |found, key| if is_shown(key) { Some(key) } else { found })
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = header(headers, &AUTHORIZATION).split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn header<'a>(headers: &'a HeaderMap, name: &axum::http::HeaderName) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

fn is_loopback(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| match port.parse::<u16>() {
            Ok(_) => name,
            Err(_) => host,
        });
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::config::Secret;

    #[test]
    fn loopback_has_many_names() {
        for host in [
            "localhost",
            "LOCALHOST:3000",
            "127.0.0.1:80",
            "127.8.9.1",
            "[::1]:3000",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org:3000",
            "10.0.0.1",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_key_is_good_for_its_scopes_alone() {
        let key = |name: &str, scopes: &[Scope]| ApiKey {
            name: name.into(),
            key: Secret::new(format!("the key of {name}")),
            scopes: scopes.to_vec(),
        };
        let keys = [key("all", &Scope::ALL), key("jobs", &[Scope::Emit])];
        let access = Access::Keys(keys.into());
        let check = |shown: &str, scope| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(shown).unwrap())]);
            access.check(&headers, scope).map_err(|error| error.status().as_u16())
        };
        assert_eq!(check("Bearer the key of all", Scope::Cluster), Ok(()));
        assert_eq!(check("bearer  the key of jobs ", Scope::Emit), Ok(()));
        assert_eq!(check("Bearer the key of jobs", Scope::Users), Err(403));
        for wrong in [
            "Bearer the key of job",
            "Bearer",
            "Bearer ",
            "",
            "the key of all",
            "Basic the key of all",
        ] {
            assert_eq!(check(wrong, Scope::Emit), Err(401), "{wrong}");
        }
    }
}
