//! The keys, read anew when they change.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::counter;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::TokenConfigError;
use super::keys::{Keys, read};
use crate::config::Token;
use crate::metric;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// How often, at most, it is looked at because a token names a key that is not known.
const EARLY: Duration = Duration::from_secs(1);

/// The keys in use, and what they were last read from.
pub(super) struct KeyStore {
    config: Token,
    keys: watch::Sender<Arc<Keys>>,
    looked: Mutex<Looked>,
}

struct Looked {
    at: Instant,
    /// The text that was there, or why there was none.
    found: Result<Vec<u8>, String>,
}

/// Without the text, which may be a secret.
impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl KeyStore {
    pub(super) fn open(config: &Token) -> Result<Self, TokenConfigError> {
        let text = read(config)?;
        let keys = Keys::parse(config, &text)?;
        Ok(Self {
            config: config.clone(),
            keys: watch::Sender::new(Arc::new(keys)),
            looked: Mutex::new(Looked {
                at: Instant::now(),
                found: Ok(text),
            }),
        })
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        self.keys.borrow().clone()
    }

    /// Looks again and again.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            sleep(INTERVAL).await;
            let this = self.clone();
            // It does not come back only when the runtime ends.
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }

    /// Looks now, unless that was done a moment ago. Blocks for as long as it takes to read a small file: whoever comes with
    /// the newest key is not turned away, and clients do not try again by themselves.
    pub(super) fn look_early(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.at.elapsed() >= EARLY {
            self.look_into(&mut looked);
        }
    }

    fn look(&self) {
        self.look_into(&mut self.looked.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Keys that are not to be had leave the old ones in use. What was seen before is not looked into again, nor told again.
    fn look_into(&self, looked: &mut Looked) {
        looked.at = Instant::now();
        let found = read(&self.config).map_err(|error| error.to_string());
        if found == looked.found {
            return;
        }
        let parsed = match &found {
            Ok(text) => Keys::parse(&self.config, text).map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        looked.found = found;
        let result = match parsed {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the keys of tokens were read anew");
                self.keys.send_replace(Arc::new(keys));
                "ok"
            }
            Err(error) => {
                tracing::warn!(
                    error,
                    "the keys of tokens cannot be read anew; the old ones stay in use"
                );
                "failed"
            }
        };
        counter!(metric::TOKEN_KEYS_RELOADED, "result" => result).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use serde_json::json;

    use super::super::testing::{Issuer, file, key_set, with_jwks_file};
    use super::super::{TokenError, Tokens};
    use super::*;

    /// Puts another file in its place, as whatever renews keys should.
    fn replace(path: &std::path::Path, text: &[u8]) {
        let next = path.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, path).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_read_anew_when_the_file_changes_and_kept_when_it_breaks() {
        let (old, new) = (Issuer::es256().kid("old"), Issuer::eddsa().kid("new"));
        let path = file(&key_set(&[old.jwk()]));
        let tokens = Tokens::new(&with_jwks_file(path.to_path_buf())).unwrap();
        let accepts = |issuer: &Issuer| tokens.store.keys().verify(&issuer.sign(&json!({}))).is_ok();
        let mut keys = tokens.store.keys.subscribe();
        assert!(accepts(&old) && !accepts(&new));
        replace(&path, &key_set(&[new.jwk()]));
        keys.changed().await.unwrap();
        assert!(!accepts(&old) && accepts(&new));
        let recorder = PrometheusBuilder::new().build_recorder();
        let look = || metrics::with_local_recorder(&recorder, || tokens.store.look());
        for broken in [&b"{\"keys\""[..], b""] {
            replace(&path, broken);
            look();
            // Once is told, and counted.
            look();
            assert!(accepts(&new));
        }
        std::fs::remove_file(&path).unwrap();
        look();
        look();
        assert!(accepts(&new));
        assert!(!keys.has_changed().unwrap());
        let counted = recorder.handle().render();
        assert!(
            counted.contains("hallporter_token_keys_reloaded_total{result=\"failed\"} 3"),
            "{counted}"
        );
        replace(&path, &key_set(&[old.jwk(), new.jwk()]));
        keys.changed().await.unwrap();
        assert!(accepts(&old) && accepts(&new));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_is_looked_for_at_once_but_not_again_and_again() {
        let [first, second, third] = ["1", "2", "3"].map(|kid| Issuer::es256().kid(kid));
        let path = file(&key_set(&[first.jwk()]));
        let tokens = Tokens::new(&with_jwks_file(path.to_path_buf())).unwrap();
        let verify = |issuer: &Issuer| tokens.verify(&issuer.sign(&json!({}))).map(drop);
        replace(&path, &key_set(&[second.jwk()]));
        assert_eq!(verify(&second), Err(TokenError::UnknownKey));
        tokio::time::advance(EARLY).await;
        assert_eq!(verify(&second), Ok(()));
        replace(&path, &key_set(&[third.jwk()]));
        assert_eq!(verify(&third), Err(TokenError::UnknownKey));
        assert_eq!(verify(&second), Ok(()));
        tokio::time::advance(EARLY).await;
        assert_eq!(verify(&third), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_file_is_left_alone_once_nobody_needs_it() {
        let path = file(&key_set(&[Issuer::es256().jwk()]));
        let tokens = Tokens::new(&with_jwks_file(path.to_path_buf())).unwrap();
        let mut keys = tokens.store.keys.subscribe();
        drop(tokens);
        let gone = tokio::time::timeout(INTERVAL * 2, keys.changed()).await;
        assert!(gone.is_ok_and(|changed| changed.is_err()));
    }
}
