//! Tokens as issuers sign them, and as attackers would, against the backend.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod issuer;
mod signer;

use auth_oauth2::{AudienceProblem, OAuth2, Permission, Refusal, Settings, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use issuer::Issuer;
use serde_json::{Value, json};
use signer::{Kind, Signer};
use std::time::Duration;

/// When everything here happens.
const NOW: u64 = 1_800_000_000;

fn settings(lines: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::default();
    settings.set(&["resource_server_id"], "rabbitmq").unwrap();
    for (key, value) in lines {
        let parts: Vec<&str> = key.split('.').collect();
        settings.set(&parts, value).unwrap();
    }
    settings
}

/// A backend that knows these keys.
fn backend(signers: &[&Signer], lines: &[(&str, &str)]) -> OAuth2 {
    let mut settings = settings(lines);
    for signer in signers {
        let keys = &mut settings.provider.signing_keys;
        keys.insert(signer.id().to_owned(), SigningKey::Jwk(signer.jwk()));
    }
    OAuth2::new(&settings).unwrap()
}

fn claims() -> Value {
    json!({
        "sub": "anna",
        "aud": "rabbitmq",
        "exp": NOW + 60,
        "scope": "rabbitmq.read:*/* rabbitmq.tag:management openid",
    })
}

/// The claims with some of them changed; `null` takes one away.
fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    claims
}

#[test]
fn a_token_says_who_it_is_and_what_it_allows() {
    let signer = Signer::new("k1", Kind::Rs256);
    let backend = backend(&[&signer], &[]);
    let scopes = [
        "rabbitmq.tag:management",
        "rabbitmq.tag:administrator",
        "rabbitmq.read:prod/orders-*",
        "rabbitmq.write:prod/events/audit.*",
        "rabbitmq.configure:{vhost}/{sub}-*",
        "other.read:*/*",
    ];
    let token = signer.sign(&claims_with(json!({"scope": scopes})));
    let anna = backend.verify(&token, NOW).unwrap();
    assert_eq!(anna.username(), "anna");
    assert_eq!(anna.tags(), ["administrator", "management"]);
    assert_eq!(anna.expires(), Some(NOW + 60));
    assert!(!anna.is_expired(NOW + 59) && anna.is_expired(NOW + 60));

    use Permission::{Configure, Read, Write};
    assert!(anna.may("prod", "orders-1", Read));
    assert!(!anna.may("prod", "orders-1", Write));
    assert!(!anna.may("test", "orders-1", Read));
    assert!(anna.may("test", "anna-1", Configure));
    assert!(!anna.may("test", "bert-1", Configure));
    assert!(anna.may("prod", "events", Write));
    assert!(anna.may_topic("prod", "events", Write, "audit.login"));
    assert!(!anna.may_topic("prod", "events", Write, "login"));
    assert!(!anna.may_topic("prod", "orders-1", Read, "x"));
    // By the scope with {vhost}.
    assert!(anna.may_access_vhost("test"));
}

#[test]
fn a_vhost_is_open_to_those_who_may_do_something_in_it() {
    let signer = Signer::new("k1", Kind::Es256);
    let backend = backend(&[&signer], &[]);
    let of = |scope: &str| {
        let token = signer.sign(&claims_with(json!({ "scope": scope })));
        backend.verify(&token, NOW).unwrap()
    };
    assert!(of("rabbitmq.read:prod/x").may_access_vhost("prod"));
    assert!(!of("rabbitmq.read:prod/x").may_access_vhost("test"));
    assert!(of("rabbitmq.read:%2F/x").may_access_vhost("/"));
    assert!(!of("rabbitmq.tag:administrator").may_access_vhost("prod"));
    assert!(!of("").may_access_vhost("prod"));
}

#[test]
fn users_are_named_by_the_preferred_claims() {
    let signer = Signer::new("k1", Kind::Es256);
    let name = |lines: &[(&str, &str)], changes: Value| {
        let token = signer.sign(&claims_with(changes));
        let identity = backend(&[&signer], lines).verify(&token, NOW).unwrap();
        identity.username().to_owned()
    };
    assert_eq!(name(&[], json!({"client_id": "app"})), "anna");
    assert_eq!(name(&[], json!({"sub": null, "client_id": "app"})), "app");
    assert_eq!(name(&[], json!({"sub": 7})), "unknown");
    let claims = [
        ("preferred_username_claims.1", "user_name"),
        ("preferred_username_claims.2", "email"),
    ];
    assert_eq!(name(&claims, json!({"email": "a@b"})), "a@b");
    assert_eq!(
        name(&claims, json!({"email": "a@b", "user_name": "x"})),
        "x"
    );
    assert_eq!(name(&claims, json!({})), "unknown");
}

#[test]
fn every_algorithm_verifies_as_web_key_and_as_pem() {
    for kind in Kind::ALL {
        let signer = Signer::new("k1", kind);
        let token = signer.sign(&claims());
        let by_jwk = backend(&[&signer], &[]);
        assert!(by_jwk.verify(&token, NOW).is_ok(), "{kind:?}");
        let Some(pem) = signer.public_pem() else {
            continue;
        };
        let mut settings = settings(&[]);
        let keys = &mut settings.provider.signing_keys;
        keys.insert("k1".to_owned(), SigningKey::Pem(pem));
        let by_pem = OAuth2::new(&settings).unwrap();
        assert!(by_pem.verify(&token, NOW).is_ok(), "{kind:?}");
        // Another key of the same kind has signed nothing.
        let other = Signer::new("k1", kind);
        let refused = by_pem.verify(&other.sign(&claims()), NOW);
        assert_eq!(refused, Err(Refusal::Signature), "{kind:?}");
    }
}

#[test]
fn a_signature_that_is_wrong_is_refused_however_it_is_wrong() {
    let rsa = Signer::new("k1", Kind::Rs256);
    let backend = backend(&[&rsa], &[]);
    let token = rsa.sign(&claims());
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts")
    };
    let encoded = |value: Value| BASE64URL.encode(value.to_string());
    let refused = |token: &str| backend.verify(token, NOW).unwrap_err();

    // Nobody has signed it.
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = encoded(json!({"alg": none, "kid": "k1"}));
        assert_eq!(refused(&format!("{header}.{payload}.")), Refusal::Signature);
        let token = format!("{header}.{payload}.{signature}");
        assert_eq!(refused(&token), Refusal::Signature);
    }
    // Our public key, taken for a shared secret: in PEM, and as the numbers of the web key.
    let pem = rsa.public_pem().unwrap();
    for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), b"", b"k1"] {
        let forged = signer::sign_with_secret("k1", secret, &claims());
        assert_eq!(refused(&forged), Refusal::Signature);
    }
    // Other claims, another algorithm, no signature, half of one, another one.
    let admin = encoded(claims_with(json!({"scope": "rabbitmq.tag:administrator"})));
    let pss = encoded(json!({"alg": "PS256", "kid": "k1"}));
    let half = &signature[..signature.len() / 2];
    for forged in [
        format!("{header}.{admin}.{signature}"),
        format!("{pss}.{payload}.{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{half}"),
        format!("{header}.{payload}.{signature}!"),
        format!("{header}.{payload}.{signature}AA"),
    ] {
        assert_eq!(refused(&forged), Refusal::Signature, "{forged}");
    }
    // A key that comes with the token is nobody's.
    let attacker = Signer::new("k1", Kind::Rs256);
    let token = attacker.sign_with_header(json!({"jwk": attacker.jwk()}), &claims());
    assert_eq!(refused(&token), Refusal::Signature);
    assert_eq!(
        refused(&rsa.sign_with_header(json!({"crit": ["exp"]}), &claims())),
        Refusal::Malformed
    );
    for text in ["", "guest", "..", ".", "a.b.c"] {
        assert_eq!(refused(text), Refusal::Malformed);
    }
    assert!(backend.verify(&rsa.sign(&claims()), NOW).is_ok());
}

#[test]
fn only_the_algorithms_that_are_configured_are_taken() {
    let signer = Signer::new("k1", Kind::Rs256);
    let token = signer.sign(&claims());
    let verify = |lines| backend(&[&signer], lines).verify(&token, NOW);
    assert!(verify(&[("algorithms.1", "ES256"), ("algorithms.2", "RS256")]).is_ok());
    assert_eq!(
        verify(&[("algorithms.1", "RS512")]),
        Err(Refusal::Signature)
    );
}

#[test]
fn a_token_without_a_key_id_is_of_the_default_key() {
    let signer = Signer::new("k1", Kind::Es256);
    let token = signer.sign_with_header(json!({ "kid": null }), &claims());
    let verify = |lines| backend(&[&signer], lines).verify(&token, NOW);
    assert_eq!(verify(&[]), Err(Refusal::UnknownKey));
    assert!(verify(&[("default_key", "k1")]).is_ok());
    let other = Signer::new("k2", Kind::Es256).sign(&claims());
    let refused = backend(&[&signer], &[("default_key", "k1")]).verify(&other, NOW);
    assert_eq!(refused, Err(Refusal::UnknownKey));
}

#[test]
fn a_token_is_taken_in_its_time_only() {
    let signer = Signer::new("k1", Kind::Es256);
    let verify = |lines: &[(&str, &str)], changes: Value| {
        let token = signer.sign(&claims_with(changes));
        let verified = backend(&[&signer], lines).verify(&token, NOW);
        verified.map(|identity| identity.expires())
    };
    let expires = NOW;
    assert_eq!(
        verify(&[], json!({ "exp": NOW })),
        Err(Refusal::Expired { expires, now: NOW })
    );
    assert_eq!(
        verify(&[], json!({"exp": 1_800_000_001.75})),
        Ok(Some(NOW + 1))
    );
    assert!(matches!(
        verify(&[], json!({"exp": -5})),
        Err(Refusal::Expired { expires: 0, .. })
    ));
    for exp in [json!("1900000000"), json!([1]), json!({})] {
        assert_eq!(verify(&[], json!({ "exp": exp })), Err(Refusal::BadExpiry));
    }
    assert_eq!(verify(&[], json!({"exp": null})), Err(Refusal::NoExpiry));
    let forever = [("require_exp", "false")];
    assert_eq!(verify(&forever, json!({"exp": null})), Ok(None));
    assert!(verify(&forever, json!({ "exp": NOW })).is_err());

    assert!(verify(&[], json!({ "nbf": NOW + 60 })).is_ok());
    let begins = NOW + 61;
    assert_eq!(
        verify(&[], json!({ "nbf": begins })),
        Err(Refusal::NotYetValid { begins, now: NOW })
    );
}

#[test]
fn a_token_for_somebody_else_is_refused_before_its_key_is_looked_for() {
    let signer = Signer::new("k1", Kind::Es256);
    let backend = backend(&[&signer], &[]);
    let stranger = Signer::new("unknown", Kind::Es256);
    let token = stranger.sign(&claims_with(json!({"aud": "other"})));
    assert_eq!(
        backend.verify(&token, NOW),
        Err(Refusal::Audience(AudienceProblem::NoMatch))
    );
}

#[test]
fn each_resource_server_has_its_own_provider_and_keys() {
    let uaa = Signer::new("k1", Kind::Rs256);
    let keycloak = Signer::new("k1", Kind::Rs256);
    let mut settings = Settings::default();
    for (key, value) in [
        ("resource_servers.prod.oauth_provider_id", "uaa"),
        ("resource_servers.dev.oauth_provider_id", "keycloak"),
    ] {
        let parts: Vec<&str> = key.split('.').collect();
        settings.set(&parts, value).unwrap();
    }
    for (name, signer) in [("uaa", &uaa), ("keycloak", &keycloak)] {
        let provider = settings.providers.entry(name.to_owned()).or_default();
        let key = SigningKey::Jwk(signer.jwk());
        provider.signing_keys.insert("k1".to_owned(), key);
    }
    let backend = OAuth2::new(&settings).unwrap();
    let verify = |signer: &Signer, audience: &str| {
        let token = signer.sign(&claims_with(json!({ "aud": audience })));
        backend.verify(&token, NOW).map(drop)
    };
    assert_eq!(verify(&uaa, "prod"), Ok(()));
    assert_eq!(verify(&keycloak, "dev"), Ok(()));
    assert_eq!(verify(&uaa, "dev"), Err(Refusal::Signature));
}

#[test]
fn settings_that_cannot_work_are_told_at_start() {
    let problem = |lines: &[(&str, &str)]| OAuth2::new(&settings(lines)).unwrap_err().to_string();
    assert!(problem(&[]).contains("needs issuer, jwks_uri or signing_keys"));
    assert!(problem(&[("default_oauth_provider", "x")]).contains("oauth_providers.x is missing"));
    assert!(
        problem(&[("signing_keys.a", "/nowhere.pem")]).contains("signing_keys.a: /nowhere.pem")
    );
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("key.pem");
    let private = Signer::new("k1", Kind::Rs256).private_pem();
    std::fs::write(&file, private).unwrap();
    let file = file.to_str().unwrap();
    assert!(problem(&[("signing_keys.a", file)]).contains("a public key is expected"));
    assert!(
        problem(&[
            ("issuer", "https://localhost:1"),
            ("https.cacertfile", "/nowhere.pem")
        ])
        .contains("auth_oauth2.https: /nowhere.pem")
    );
}

#[test]
fn a_refusal_has_rabbitmqs_words_and_nothing_of_the_token() {
    let signer = Signer::new("k1", Kind::Es256);
    let backend = backend(&[&signer], &[]);
    let text = |changes: Value| {
        let token = signer.sign(&claims_with(changes));
        backend.verify(&token, NOW).unwrap_err().to_string()
    };
    assert_eq!(
        text(json!({"exp": 5})),
        "Authentication using an OAuth 2/JWT token failed: \"Provided JWT token has expired at timestamp 5 (validated at 1800000000)\""
    );
    assert_eq!(
        text(json!({"aud": "x"})),
        "Authentication using OAuth 2/JWT token failed: {error,no_matching_aud_found}"
    );
}

fn issuer_settings(issuer: &Issuer, location: (&str, &str)) -> Settings {
    let ca = issuer.ca_file();
    settings(&[
        (location.0, &issuer.url(location.1)),
        ("https.cacertfile", ca.to_str().unwrap()),
    ])
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_when_an_unknown_one_is_used() {
    let first = Signer::new("k1", Kind::Rs256);
    let second = Signer::new("k2", Kind::Es256);
    let issuer = Issuer::start(vec![first.jwk()]).await;
    for location in [("issuer", ""), ("jwks_uri", "/keys"), ("jwks_url", "/keys")] {
        issuer.publish(vec![first.jwk()]);
        let backend = OAuth2::new(&issuer_settings(&issuer, location)).unwrap();
        let before = issuer.key_requests();
        let token = first.sign(&claims());
        assert_eq!(backend.verify(&token, NOW), Err(Refusal::UnknownKey));
        let logins = (0..20).map(|_| backend.authenticate(&token, NOW));
        for login in join_all(logins).await {
            login.unwrap();
        }
        assert_eq!(issuer.key_requests(), before + 1);
        assert!(backend.verify(&token, NOW).is_ok());

        // The issuer signs with another key; the first is withdrawn.
        issuer.publish(vec![second.jwk()]);
        let renewed = second.sign(&claims());
        let refused = backend.authenticate(&renewed, NOW).await;
        assert_eq!(refused, Err(Refusal::UnknownKey), "fetched too often");
        advance(auth_oauth2::provider::FETCH_INTERVAL).await;
        assert!(backend.authenticate(&renewed, NOW).await.is_ok());
        let refused = backend.authenticate(&token, NOW).await;
        assert_eq!(refused, Err(Refusal::UnknownKey));
        assert_eq!(issuer.key_requests(), before + 2);
    }
}

#[tokio::test]
async fn a_key_that_the_issuer_withdraws_does_not_stay() {
    let signer = Signer::new("k1", Kind::Es256);
    let issuer = Issuer::start(vec![signer.jwk()]).await;
    let backend = OAuth2::new(&issuer_settings(&issuer, ("issuer", ""))).unwrap();
    let token = signer.sign(&claims());
    assert!(backend.authenticate(&token, NOW).await.is_ok());
    issuer.publish(vec![Signer::new("k2", Kind::Es256).jwk()]);
    assert!(backend.authenticate(&token, NOW).await.is_ok());
    advance(auth_oauth2::provider::KEYS_AGE_MAX + Duration::from_secs(1)).await;
    let refused = backend.authenticate(&token, NOW).await;
    assert_eq!(refused, Err(Refusal::UnknownKey));
}

#[tokio::test]
async fn an_issuer_that_fails_is_asked_again_later() {
    let signer = Signer::new("k1", Kind::Es256);
    let issuer = Issuer::start(vec![signer.jwk()]).await;
    let backend = OAuth2::new(&issuer_settings(&issuer, ("jwks_uri", "/keys"))).unwrap();
    let token = signer.sign(&claims());
    for broken in ["", "{}", "[]", "{\"keys\":[]}", "<html>"] {
        issuer.answer_keys_with(broken);
        let refused = backend.authenticate(&token, NOW).await;
        assert!(
            matches!(refused, Err(Refusal::KeysUnavailable(_))),
            "{refused:?}"
        );
        advance(auth_oauth2::provider::FETCH_INTERVAL).await;
    }
    // One key that nobody can use does not spoil the others.
    issuer.publish(vec![
        json!({"kid": "odd", "kty": "EC", "crv": "P-521", "x": "AQ", "y": "AQ"}),
        json!(7),
        signer.jwk(),
    ]);
    assert!(backend.authenticate(&token, NOW).await.is_ok());
    let odd = Signer::new("odd", Kind::Es256).sign(&claims());
    assert_eq!(
        backend.authenticate(&odd, NOW).await,
        Err(Refusal::UnusableKey("unsupported_curve"))
    );
    // When it fails later, what is known stays.
    issuer.answer_keys_with("<html>");
    advance(auth_oauth2::provider::KEYS_AGE_MAX + Duration::from_secs(1)).await;
    assert!(backend.authenticate(&token, NOW).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_is_not_trusted_has_no_keys() {
    let signer = Signer::new("k1", Kind::Es256);
    let issuer = Issuer::start(vec![signer.jwk()]).await;
    let other = Issuer::start(Vec::new()).await;
    let token = signer.sign(&claims());
    let mut settings = issuer_settings(&issuer, ("jwks_uri", "/keys"));
    let ca = other.ca_file();
    settings
        .set(&["https", "cacertfile"], ca.to_str().unwrap())
        .unwrap();
    let refused = OAuth2::new(&settings)
        .unwrap()
        .authenticate(&token, NOW)
        .await;
    assert!(
        matches!(refused, Err(Refusal::KeysUnavailable(_))),
        "{refused:?}"
    );
    assert_eq!(issuer.key_requests(), 0);
    settings.set(&["https", "verify"], "verify_none").unwrap();
    let backend = OAuth2::new(&settings).unwrap();
    assert!(backend.authenticate(&token, NOW).await.is_ok());
}

#[tokio::test]
async fn a_token_is_renewed_by_one_of_the_same_user() {
    let signer = Signer::new("k1", Kind::Es256);
    let backend = backend(&[&signer], &[]);
    let anna = backend.verify(&signer.sign(&claims()), NOW).unwrap();
    let later = signer.sign(&claims_with(json!({"exp": NOW + 900, "scope": ""})));
    let renewed = backend.renew(&anna, &later, NOW).await.unwrap();
    assert_eq!(renewed.expires(), Some(NOW + 900));
    assert!(!renewed.may_access_vhost("/") && anna.may_access_vhost("/"));
    let other = signer.sign(&claims_with(json!({"sub": "bert"})));
    assert_eq!(
        backend.renew(&anna, &other, NOW).await,
        Err(Refusal::OtherUser)
    );
    let expired = signer.sign(&claims_with(json!({"exp": NOW - 1})));
    assert!(backend.renew(&anna, &expired, NOW).await.is_err());
}

/// Lets time pass without waiting for it.
async fn advance(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// All of them at once, on this thread.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, outcome) in &mut pending {
            if outcome.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *outcome = Some(ready);
            }
        }
        if pending.iter().all(|(_, outcome)| outcome.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    let outcomes = pending.into_iter().map(|(_, outcome)| outcome);
    outcomes.map(|outcome| outcome.unwrap()).collect()
}
