//! Who gets in by which token, and who does not.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use metrics_exporter_prometheus::PrometheusBuilder;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::testing::{Issuer, SECRET, file, in_seconds, key_set, with_jwks_file};
use super::*;
use crate::Refusal;

fn issuers() -> [Issuer; 4] {
    [Issuer::hs256(), Issuer::rs256(), Issuer::es256(), Issuer::eddsa()]
}

fn tokens(config: &Token) -> Tokens {
    Tokens::new(config).unwrap()
}

/// For HS256, with these settings.
fn with(change: impl FnOnce(&mut Token)) -> Tokens {
    let (mut config, _) = Issuer::hs256().config();
    change(&mut config);
    tokens(&config)
}

fn refused(tokens: &Tokens, token: &str) -> TokenError {
    tokens.verify(token).unwrap_err()
}

/// The token with another header, signed as before.
fn with_header(token: &str, header: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let (_, rest) = token.split_once('.').unwrap();
    format!("{header}.{rest}")
}

#[tokio::test]
async fn each_kind_of_key_lets_its_tokens_in_and_no_others() {
    for issuer in issuers() {
        let (config, _file) = issuer.config();
        let tokens = tokens(&config);
        for other in issuers() {
            let token = other.sign(&json!({"sub": "ada", "exp": in_seconds(60)}));
            match tokens.verify(&token) {
                Ok(identity) => {
                    assert_eq!(issuer.algorithm, other.algorithm);
                    assert_eq!(identity.user.as_deref(), Some("ada"));
                }
                Err(error) => {
                    assert_ne!(issuer.algorithm, other.algorithm);
                    assert_eq!(error, TokenError::Algorithm);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    for issuer in issuers() {
        let (config, _file) = issuer.config();
        let tokens = tokens(&config);
        let token = issuer.sign(&json!({"sub": "ada"}));
        let other = issuer.sign(&json!({"sub": "eve"}));
        let (claims, signature) = (token.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
        for forged in [
            format!("{claims}.{signature}"),
            format!("{claims}."),
            format!("{claims}.AAAA"),
        ] {
            assert_eq!(refused(&tokens, &forged), TokenError::Signature, "{forged}");
        }
    }
}

/// RFC 7515, appendices A.1 and A.3, whose tokens expired in 2011; and what openssl signed.
#[tokio::test]
async fn tokens_of_others_are_verified() {
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    for (header, signature, key) in [
        (
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
        ),
        (
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                   "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
        ),
    ] {
        let file = file(&key_set(&[key]));
        let tokens = tokens(&with_jwks_file(file.to_path_buf()));
        assert_eq!(
            refused(&tokens, &format!("{header}.{payload}.{signature}")),
            TokenError::Expired
        );
    }
    for (issuer, token) in [
        (Issuer::rs256(), include_str!("testdata/rsa.jwt")),
        (Issuer::eddsa(), include_str!("testdata/ed.jwt")),
    ] {
        let (config, _file) = issuer.config();
        assert_eq!(tokens(&config).verify(token.trim()).unwrap().user.unwrap(), "ada");
    }
}

#[tokio::test]
async fn no_key_verifies_by_an_algorithm_that_is_not_its_own() {
    let (config, file) = Issuer::rs256().config();
    let tokens = tokens(&config);
    let public = std::fs::read(file.unwrap()).unwrap();
    let der = Issuer::rs256().jwk()["n"].as_str().unwrap().as_bytes().to_vec();
    for secret in [public.clone(), public.trim_ascii().to_vec(), der] {
        let confused = encode(
            &Header::new(Algorithm::HS256),
            &json!({"sub": "eve"}),
            &EncodingKey::from_secret(&secret),
        );
        assert_eq!(refused(&tokens, &confused.unwrap()), TokenError::Algorithm);
    }
    let token = Issuer::rs256().sign(&json!({"sub": "ada"}));
    assert_eq!(
        refused(&tokens, &with_header(&token, &json!({"alg": "PS256"}))),
        TokenError::Algorithm
    );
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let unsigned = with_header(&token, &json!({"alg": none}));
        let (claims, _) = unsigned.rsplit_once('.').unwrap();
        assert_eq!(refused(&tokens, &format!("{claims}.")), TokenError::Malformed);
        assert_eq!(refused(&tokens, &unsigned), TokenError::Malformed);
    }
    let critical = with_header(&token, &json!({"alg": "RS256", "crit": ["b64"], "b64": false}));
    assert_eq!(refused(&tokens, &critical), TokenError::Critical);
}

#[test]
fn times_are_kept_and_clocks_may_differ_by_the_leeway() {
    let strict = with(|_| ());
    let lenient = with(|config| config.leeway = Duration::from_secs(30));
    let token = |claims| Issuer::hs256().sign(&claims);
    let expired = token(json!({"exp": in_seconds(-10)}));
    assert_eq!(refused(&strict, &expired), TokenError::Expired);
    assert!(lenient.verify(&expired).is_ok());
    assert_eq!(
        refused(&lenient, &token(json!({"exp": in_seconds(-40)}))),
        TokenError::Expired
    );
    let early = token(json!({"nbf": in_seconds(10)}));
    assert_eq!(refused(&strict, &early), TokenError::NotYetValid);
    assert!(lenient.verify(&early).is_ok());
    for wrong in [json!("2030-01-01"), json!(-1), json!(null), json!(1e300)] {
        for claim in ["exp", "nbf"] {
            let error = refused(&strict, &token(json!({claim: wrong})));
            assert_eq!(error.reason(), "wrong_claim", "{claim}: {wrong}");
        }
    }
    assert_eq!(strict.verify(&token(json!({}))).unwrap().expires, None);
    let end = in_seconds(60);
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let token = token(json!({"exp": end}));
    assert_eq!(strict.verify(&token).unwrap().expires, Some(at(end)));
    assert_eq!(lenient.verify(&token).unwrap().expires, Some(at(end + 30)));
}

#[test]
fn tokens_come_from_the_issuer_and_for_the_audience() {
    let tokens = with(|config| {
        config.issuer = vec!["https://a.org".into(), "https://b.org".into()];
        config.audience = vec!["chat".into()];
    });
    let verify = |issuer: Value, audience: Value| {
        let token = Issuer::hs256().sign(&json!({"iss": issuer, "aud": audience}));
        tokens.verify(&token).map(drop)
    };
    assert_eq!(verify(json!("https://b.org"), json!("chat")), Ok(()));
    assert_eq!(verify(json!("https://a.org"), json!(["mail", "chat"])), Ok(()));
    for issuer in [json!("https://c.org"), json!(null), json!(1), json!([])] {
        assert_eq!(verify(issuer, json!("chat")), Err(TokenError::WrongIssuer));
    }
    for audience in [json!("mail"), json!(null), json!({}), json!([])] {
        assert_eq!(verify(json!("https://a.org"), audience), Err(TokenError::WrongAudience));
    }
    // Who has no name cannot be meant.
    let token = Issuer::hs256().sign(&json!({"aud": "chat"}));
    assert_eq!(refused(&with(|_| ()), &token), TokenError::WrongAudience);
}

#[test]
fn claims_say_who_a_client_is() {
    let tokens = with(|config| {
        config.user_claim = "user_id".into();
        config.rooms_claim = Some("rooms".into());
        config.session_claims = vec!["name".into(), "absent".into()];
    });
    let verify = |claims: Value| tokens.verify(&Issuer::hs256().sign(&claims));
    let claims = json!({"sub": "x", "user_id": 42, "rooms": ["a", "b"], "name": {"first": "Ada"}});
    let identity = verify(claims.clone()).unwrap();
    assert_eq!(identity.user.as_deref(), Some("42"));
    assert_eq!(identity.rooms, ["a", "b"]);
    assert_eq!(Value::Object(identity.session), json!({"name": {"first": "Ada"}}));
    assert_eq!(Value::Object(identity.claims), claims);
    assert_eq!(verify(json!({"rooms": "one"})).unwrap().rooms, ["one"]);
    let nobody = Identity {
        claims: Map::from_iter([("rooms".into(), Value::Null)]),
        ..Identity::default()
    };
    assert_eq!(verify(json!({"rooms": null})), Ok(nobody));
    for wrong in [
        json!({"user_id": ""}),
        json!({"user_id": 1.5}),
        json!({"user_id": ["a"]}),
        json!({"rooms": 1}),
        json!({"rooms": ["a", 1]}),
        json!({"rooms": {"a": true}}),
        json!({"rooms": vec!["r"; MAX_ROOMS + 1]}),
    ] {
        assert_eq!(verify(wrong.clone()).unwrap_err().reason(), "wrong_claim", "{wrong}");
    }
    for no_object in [json!(["a"]), json!("a"), json!(null)] {
        assert_eq!(verify(no_object), Err(TokenError::Malformed));
    }
}

#[test]
fn a_token_is_found_in_auth_and_in_the_query_where_that_is_allowed() {
    let (closed, open) = (with(|_| ()), with(|config| config.allow_query = true));
    let nothing = json!({});
    assert_eq!(
        closed.find(&json!({"token": "a.b.c"}), "token=x").as_deref(),
        Some("a.b.c")
    );
    assert_eq!(
        closed.find(&json!({"token": "bearer a.b.c"}), "").as_deref(),
        Some("a.b.c")
    );
    assert_eq!(closed.find(&nothing, "token=x"), None);
    assert_eq!(open.find(&nothing, "EIO=4&token=x%2By").as_deref(), Some("x+y"));
    assert_eq!(open.find(&json!({"token": "a"}), "token=x").as_deref(), Some("a"));
    for empty in [
        json!({"token": null}),
        json!({"token": ""}),
        json!({"token": 1}),
        json!([]),
    ] {
        assert_eq!(closed.find(&empty, "token=x"), None);
        assert_eq!(open.find(&empty, "token=x").as_deref(), Some("x"));
        assert_eq!(open.find(&empty, "tokens=x&token="), None);
    }
    let call = |value: &str| HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
    assert_eq!(of_call(&call("Bearer a.b.c")), Some("a.b.c"));
    assert_eq!(of_call(&call("BEARER  a.b.c")), Some("a.b.c"));
    assert_eq!(of_call(&call("Basic a.b.c")), None);
    assert_eq!(of_call(&HeaderMap::new()), None);
}

#[test]
fn only_who_must_show_a_token_has_to_but_one_that_is_shown_is_verified() {
    let tokens = with(|_| ());
    assert_eq!(tokens.identify(None, true), Err(TokenError::Missing));
    assert_eq!(tokens.identify(None, false), Ok(None));
    assert_eq!(tokens.identify(Some("x"), false), Err(TokenError::Malformed));
    let token = Issuer::hs256().sign(&json!({}));
    assert!(tokens.identify(Some(&token), false).unwrap().is_some());
}

#[test]
fn a_client_is_told_what_is_wrong_and_no_secret() {
    let refusal = Refusal::from(TokenError::Expired);
    assert_eq!(refusal.message, "not authorized");
    assert_eq!(
        refusal.data,
        Some(json!({"code": "token_expired", "message": "the token has expired"}))
    );
    let tokens = with(|_| ());
    let (shown, bytes) = (format!("{tokens:?}"), format!("{:?}", SECRET.as_bytes()));
    assert!(!shown.contains(SECRET) && !shown.contains(&bytes), "{shown}");
    let long = "x".repeat(MAX_TOKEN + 1);
    assert_eq!(refused(&tokens, &long), TokenError::TooLong);
}

#[test]
fn refusals_are_counted_by_reason() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let tokens = with(|_| ());
    let expired = Issuer::hs256().sign(&json!({"exp": 1}));
    metrics::with_local_recorder(&recorder, || {
        for token in [None, Some("x"), Some("y"), Some(&expired)] {
            assert!(tokens.identify(token, true).is_err());
        }
    });
    let counted = recorder.handle().render();
    for line in ["missing\"} 1", "invalid\"} 2", "expired\"} 1"] {
        let line = format!("hallporter_tokens_refused_total{{reason=\"{line}");
        assert!(counted.contains(&line), "{counted}");
    }
}

/// Claims of all names that matter here, with values of any kind.
fn any_claims() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let value = scalar.prop_recursive(2, 8, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(Value::from)
    });
    let name = prop::sample::select(vec!["exp", "nbf", "iat", "iss", "aud", "sub", "rooms"]);
    prop::collection::btree_map(name, value, 0..7).prop_map(|claims| json!(claims))
}

proptest! {
    #[test]
    fn nothing_that_is_sent_panics(parts in prop::collection::vec(any::<Vec<u8>>(), 0..5), text in any::<String>()) {
        let tokens = with(|_| ());
        let parts: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
        prop_assert!(tokens.verify(&parts.join(".")).is_err());
        prop_assert!(tokens.verify(&text).is_err());
    }

    #[test]
    fn no_claims_panic(claims in any_claims(), payload in any::<Vec<u8>>()) {
        let tokens = with(|config| {
            config.rooms_claim = Some("rooms".into());
            config.leeway = Duration::from_secs(3600);
        });
        if let Ok(identity) = tokens.verify(&Issuer::hs256().sign(&claims)) {
            prop_assert_eq!(identity.user.is_some(), claims.get("sub").is_some_and(|sub| !sub.is_null()));
        }
        // What nobody should have signed.
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(payload));
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256);
        let token = format!("{signed}.{}", signature.unwrap());
        prop_assert!(tokens.verify(&token).is_err());
    }
}
