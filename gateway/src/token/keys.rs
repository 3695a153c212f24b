//! The keys that verify tokens. Each is for one algorithm, whatever a token says of itself.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::rust_crypto;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{TokenConfigError, TokenError};
use crate::config::{KeySource, Token};

/// The largest file of keys, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The most keys of one set.
const MAX_KEYS: usize = 100;
/// The shortest secret, in bytes (RFC 7518, section 3.2).
const MIN_SECRET: usize = 32;
/// The size of RSA keys, in bytes: RFC 7518, section 3.3, and what is verified in a bearable time.
const RSA_SIZES: std::ops::RangeInclusive<usize> = 256..=512;
const MAX_LEEWAY: Duration = Duration::from_secs(3600);

/// The keys in use.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    /// Its name in a set.
    kid: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
    /// What a token has to fulfil beside the signature.
    validation: Validation,
}

impl Keys {
    /// The keys that a text holds: what [`read`] gave.
    pub(super) fn parse(config: &Token, text: &[u8]) -> Result<Self, TokenConfigError> {
        install_provider();
        if config.leeway > MAX_LEEWAY {
            return Err(TokenConfigError::Leeway);
        }
        let in_file = |path: &Path, problem| TokenConfigError::File {
            path: path.to_owned(),
            problem,
        };
        let found = match config.key_source().ok_or(TokenConfigError::Source)? {
            KeySource::Secret(_) => vec![from_secret(text)?],
            KeySource::Pem(path) => vec![from_pem(text).map_err(|problem| in_file(path, problem))?],
            KeySource::Jwks(path) => from_jwks(text).map_err(|problem| in_file(path, problem))?,
        };
        let key = |(kid, algorithm, decoding)| Key {
            kid,
            algorithm,
            decoding,
            validation: validation(config, algorithm),
        };
        Ok(Self(found.into_iter().map(key).collect()))
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The claims of a token that is signed by one of these keys, valid now, and from and for the right ones.
    pub(super) fn verify(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        let header = decode_header(token)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let key = self.find(&header)?;
        Ok(decode(token, &key.decoding, &key.validation)?.claims)
    }

    /// The one key a token can be signed with.
    fn find(&self, header: &Header) -> Result<&Key, TokenError> {
        let is_named = |key: &&Key| match (&key.kid, &header.kid) {
            (Some(name), Some(kid)) => name == kid,
            _ => true,
        };
        let mut named = self.0.iter().filter(is_named).peekable();
        if named.peek().is_none() {
            return Err(TokenError::UnknownKey);
        }
        let mut fitting = named.filter(|key| key.algorithm == header.alg);
        let key = fitting.next().ok_or(TokenError::Algorithm)?;
        match fitting.next() {
            None => Ok(key),
            Some(_) => Err(TokenError::NoKeyNamed),
        }
    }
}

/// What the configuration names, as it is now.
pub(super) fn read(config: &Token) -> Result<Vec<u8>, TokenConfigError> {
    match config.key_source().ok_or(TokenConfigError::Source)? {
        KeySource::Secret(secret) => Ok(secret.reveal().into()),
        KeySource::Pem(path) | KeySource::Jwks(path) => read_file(path).map_err(|error| TokenConfigError::Unreadable {
            path: path.to_owned(),
            error,
        }),
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // To open a pipe would wait for a writer.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut text = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("it is larger than {MAX_FILE} bytes")));
    }
    Ok(text)
}

/// A program that has both providers of the library has to choose one, or the library panics. One that has chosen keeps its own.
pub(super) fn install_provider() {
    let _ = rust_crypto::DEFAULT_PROVIDER.install_default();
}

type Found = (Option<String>, Algorithm, DecodingKey);

fn from_secret(text: &[u8]) -> Result<Found, TokenConfigError> {
    let key = DecodingKey::from_secret(text);
    check(&key, Algorithm::HS256).map_err(|_| TokenConfigError::WeakSecret)?;
    Ok((None, Algorithm::HS256, key))
}

fn from_pem(text: &[u8]) -> Result<Found, String> {
    let has = |part: &str| memchr::memmem::find(text, part.as_bytes()).is_some();
    if has("PRIVATE KEY-----") {
        return Err(
            "holds a private key; the gateway needs only the public one: `openssl pkey -in FILE -pubout`".into(),
        );
    }
    if has("BEGIN CERTIFICATE") {
        return Err("holds a certificate; the gateway needs its key: `openssl x509 -in FILE -noout -pubkey`".into());
    }
    let rsa = || Some((Algorithm::RS256, DecodingKey::from_rsa_pem(text).ok()?));
    let ec = || Some((Algorithm::ES256, DecodingKey::from_ec_pem(text).ok()?));
    let ed = || Some((Algorithm::EdDSA, DecodingKey::from_ed_pem(text).ok()?));
    let (algorithm, key) = rsa()
        .or_else(ec)
        .or_else(ed)
        .ok_or("is no public key in PEM form, of RSA, P-256 or Ed25519")?;
    check(&key, algorithm)?;
    Ok((None, algorithm, key))
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// The keys of a set that verify what is verified here; a set may hold others.
fn from_jwks(text: &[u8]) -> Result<Vec<Found>, String> {
    // The error itself might repeat a secret.
    let set: KeySet = serde_json::from_slice(text).map_err(|error| {
        format!(
            "is no JSON Web Key Set, {{\"keys\": […]}}; see its line {}",
            error.line()
        )
    })?;
    if set.keys.len() > MAX_KEYS {
        return Err(format!("has more than {MAX_KEYS} keys"));
    }
    let found: Vec<Found> = set.keys.into_iter().filter_map(from_jwk).collect();
    let mut names = HashSet::new();
    if found.is_empty() {
        Err("has no key for RS256, ES256, EdDSA or HS256 that is long enough".into())
    } else if found.len() > 1 && found.iter().any(|(kid, ..)| kid.is_none()) {
        Err("has several keys, of which one has no kid".into())
    } else if found.iter().any(|(kid, algorithm, _)| !names.insert((kid, algorithm))) {
        Err("has two keys of one kid and algorithm".into())
    } else {
        Ok(found)
    }
}

fn from_jwk(value: Value) -> Option<Found> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        _ => return None,
    };
    let common = jwk.common.clone();
    let is_meant = common.key_algorithm.is_none_or(|named| named == algorithm.into())
        && common
            .public_key_use
            .is_none_or(|usage| usage == PublicKeyUse::Signature);
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (is_meant && check(&key, algorithm).is_ok()).then_some((common.key_id, algorithm, key))
}

/// Whether a key is one of this algorithm, and long enough. The library finds out only when it verifies, or panics then.
fn check(key: &DecodingKey, algorithm: Algorithm) -> Result<(), &'static str> {
    let length = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    let (fits, problem) = match algorithm {
        Algorithm::HS256 => (length >= MIN_SECRET, "holds a secret of fewer than 32 bytes"),
        Algorithm::RS256 => (
            modulus(key).is_some_and(|length| RSA_SIZES.contains(&length)),
            "holds an RSA key of fewer than 2048 bits, or of more than 4096",
        ),
        Algorithm::EdDSA => (length == 32, "holds a key that is not an Ed25519 one"),
        _ => (true, ""),
    };
    if !fits {
        return Err(problem);
    }
    let is_of_curve = jsonwebtoken::crypto::verify("", b"", key, algorithm).is_ok();
    is_of_curve
        .then_some(())
        .ok_or("holds a key of another curve than P-256 or Ed25519")
}

/// The length of an RSA key, in bytes.
fn modulus(key: &DecodingKey) -> Option<usize> {
    match Jwk::from_decoding_key(key, None).ok()?.algorithm {
        AlgorithmParameters::RSA(key) => {
            let modulus = URL_SAFE_NO_PAD.decode(key.n).ok()?;
            Some(modulus.iter().skip_while(|&&byte| byte == 0).count())
        }
        _ => None,
    }
}

fn validation(config: &Token, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = config.leeway.as_secs();
    validation.validate_nbf = true;
    // A token without an end is the issuer's affair.
    validation.required_spec_claims.clear();
    if !config.issuer.is_empty() {
        validation.set_issuer(&config.issuer);
        validation.required_spec_claims.insert("iss".into());
    }
    if !config.audience.is_empty() {
        validation.set_audience(&config.audience);
        validation.required_spec_claims.insert("aud".into());
    }
    validation
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Issuer, SECRET, file, key_set, with_jwks_file, with_key_file};
    use super::*;
    use crate::config::Secret;

    fn keys(set: &Path) -> Keys {
        let config = with_jwks_file(set.to_owned());
        Keys::parse(&config, &read(&config).unwrap()).unwrap()
    }

    fn refused(keys: &Keys, token: &str) -> TokenError {
        keys.verify(token).unwrap_err()
    }

    fn problem(config: &Token) -> String {
        read(config)
            .and_then(|text| Keys::parse(config, &text))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_key_of_a_set_is_chosen_by_its_name() {
        let (first, second) = (Issuer::es256().kid("first"), Issuer::rs256().kid("second"));
        // What issuers' sets hold besides: keys to encrypt with, curves and kinds that are not verified here.
        let mut encrypting = Issuer::rs256().kid("third").jwk();
        encrypting["use"] = json!("enc");
        let foreign = json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "fourth"});
        let short = json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "fifth"});
        let set = file(&key_set(&[first.jwk(), second.jwk(), encrypting, foreign, short]));
        let keys = keys(&set);
        let claims = json!({"sub": "ada"});
        for issuer in [&first, &second] {
            assert!(keys.verify(&issuer.sign(&claims)).is_ok());
        }
        let wrongly_named = Issuer::rs256().kid("first").sign(&claims);
        assert_eq!(refused(&keys, &wrongly_named), TokenError::Algorithm);
        for unknown in [Issuer::rs256().kid("third"), Issuer::eddsa().kid("fifth")] {
            assert_eq!(refused(&keys, &unknown.sign(&claims)), TokenError::UnknownKey);
        }
        // Without a name, the algorithm may do.
        assert!(keys.verify(&Issuer::es256().sign(&claims)).is_ok());
        let twins = [Issuer::es256().kid("a").jwk(), Issuer::es256().kid("b").jwk()];
        let twins = file(&key_set(&twins));
        let keys = self::keys(&twins);
        assert_eq!(refused(&keys, &Issuer::es256().sign(&claims)), TokenError::NoKeyNamed);
    }

    #[test]
    fn keys_that_are_none_are_told_with_file_and_remedy() {
        assert!(problem(&Token::default()).contains("exactly one of secret, key_file and jwks_file"));
        let short = Token {
            secret: Some(Secret::new(&SECRET[1..])),
            ..Token::default()
        };
        assert!(problem(&short).contains("32 bytes") && !problem(&short).contains(&SECRET[1..]));
        let pem = |text: &str, says: &str| {
            let path = file(text.as_bytes());
            let found = problem(&with_key_file(path.to_path_buf()));
            assert!(
                found.starts_with(&path.display().to_string()) && found.contains(says),
                "{found}"
            );
        };
        pem(include_str!("testdata/ec.pem"), "openssl pkey -in FILE -pubout");
        pem("-----BEGIN CERTIFICATE-----", "openssl x509");
        pem(include_str!("testdata/short.pub.pem"), "2048 bits");
        pem(include_str!("testdata/p384.pub.pem"), "P-256");
        pem("", "no public key in PEM form");
        let jwks = |text: &[u8], says: &str| {
            let path = file(text);
            let found = problem(&with_jwks_file(path.to_path_buf()));
            assert!(
                found.starts_with(&path.display().to_string()) && found.contains(says),
                "{found}"
            );
        };
        let key = Issuer::es256().kid("a").jwk();
        jwks(b"hush", "is no JSON Web Key Set");
        jwks(b"{\"keys\": \"hush\"}", "is no JSON Web Key Set");
        jwks(&key_set(&[]), "has no key for");
        jwks(&key_set(&[json!({"kty": "oct", "k": "AAAA"})]), "has no key for");
        jwks(&key_set(&[key.clone(), key.clone()]), "two keys of one kid");
        jwks(&key_set(&[key.clone(), Issuer::eddsa().jwk()]), "has no kid");
        jwks(&key_set(&vec![key; 101]), "more than 100 keys");
        jwks(&vec![b' '; (1 << 20) + 1], "larger than 1048576 bytes");
        let folder = tempfile::tempdir().unwrap();
        assert!(problem(&with_key_file(folder.path().into())).contains("it is not a file"));
        assert!(problem(&with_key_file(folder.path().join("none"))).contains("cannot be read: No such file"));
    }
}
