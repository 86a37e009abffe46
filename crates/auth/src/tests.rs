//! Chains against an HTTP server that keeps what it was asked.

use super::*;
use base::Name;
use broker::auth::{Action, Answer, Principal, Question, RenewFailure, Secret};
use broker::command::{MetadataCommand, PasswordHash};
use broker::error::ResourceKind;
use broker::vhost_metadata::VhostMetadata;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

type Rule = fn(&str) -> (u16, &'static str);

/// An HTTP server.
struct Stub {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    async fn start(rule: Rule) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                let request = loop {
                    let mut part = [0; 4096];
                    let count = stream.read(&mut part).await.unwrap();
                    bytes.extend_from_slice(&part[..count]);
                    if let Some(request) = whole(&bytes) {
                        break request;
                    }
                    assert!(count > 0, "a request was cut off");
                };
                let (code, body) = rule(&request);
                kept.lock().unwrap().push(request);
                let length = body.len();
                let answer = format!("HTTP/1.1 {code} x\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, asked }
    }

    fn settings(&self) -> HttpSettings {
        let url = |path: &str| format!("http://{}/{path}", self.address).parse().unwrap();
        HttpSettings {
            user_path: url("user"),
            vhost_path: url("vhost"),
            resource_path: url("resource"),
            topic_path: url("topic"),
            ..HttpSettings::default()
        }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// Path, query and body of a request, if it is all there.
fn whole(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>().unwrap())
    });
    if body.len() < length.unwrap_or(0) {
        return None;
    }
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    Some(match method {
        "POST" => format!("POST {target} {body}"),
        _ => target.to_owned(),
    })
}

fn metadata() -> Arc<Metadata> {
    let mut metadata = Metadata::new(1);
    for command in [
        MetadataCommand::CreateVhost {
            name: "/".into(),
            metadata: VhostMetadata::default(),
        },
        MetadataCommand::PutUser {
            name: "bob".into(),
            password_hash: Some(PasswordHash::new(b"builder", [1; 4])),
            tags: vec!["monitoring".into()],
        },
        MetadataCommand::SetPermissions {
            vhost: "/".into(),
            user: "bob".into(),
            configure: "^bob".into(),
            write: "^bob".into(),
            read: "^bob".into(),
        },
    ] {
        metadata.apply(&command).unwrap();
    }
    Arc::new(metadata)
}

fn credentials(user: &str, password: &str) -> Credentials {
    Credentials {
        user: user.into(),
        password: Some(Secret::new(password.as_bytes())),
        address: "127.0.0.1".parse().unwrap(),
        is_loopback: true,
    }
}

fn chain(links: &[(BackendName, &[BackendName])], http: HttpSettings) -> Arc<Chain> {
    let backends = links.iter().map(|(authn, authz)| Link {
        authn: *authn,
        authz: authz.to_vec(),
    });
    let settings = Settings {
        backends: backends.collect(),
        http,
        cache: CacheSettings {
            authn: BackendName::Http,
            authz: BackendName::Http,
            ..CacheSettings::default()
        },
        ..Settings::default()
    };
    Chain::new(&settings).unwrap().unwrap()
}

async fn log_in(chain: &Arc<Chain>, user: &str, password: &str) -> Result<Login, String> {
    let login = Arc::clone(chain).log_in(metadata(), credentials(user, password));
    login.await.map_err(|failure| failure.to_string())
}

async fn ask(login: &Login, question: Question) -> Answer {
    let authority = Arc::clone(login.authority.as_ref().unwrap());
    match authority.decide(&question) {
        Some(answer) => answer,
        None => authority.ask(metadata(), question).await,
    }
}

fn resource(name: &str, action: Action) -> Question {
    Question::Resource {
        vhost: "/".into(),
        kind: ResourceKind::Queue,
        name: name.into(),
        action,
    }
}

#[test]
fn the_metadata_alone_needs_no_chain() {
    assert!(Chain::new(&Settings::default()).unwrap().is_none());
    let settings = Settings {
        backends: vec![Link {
            authn: BackendName::Cache,
            authz: vec![],
        }],
        cache: CacheSettings {
            authn: BackendName::Cache,
            ..CacheSettings::default()
        },
        ..Settings::default()
    };
    assert!(Chain::new(&settings).is_err());
}

#[tokio::test]
async fn the_server_gets_rabbitmqs_parameters() {
    let stub = Stub::start(|request| match request {
        request if request.starts_with("/user") => (200, "allow Administrator  custom"),
        request if request.contains("permission=write") => (200, "Allow\n"),
        _ => (200, "deny"),
    })
    .await;
    let chain = chain(&[(BackendName::Http, &[])], stub.settings());
    let login = log_in(&chain, "a b", "p&w").await.unwrap();
    assert_eq!(login.tags, ["administrator".into(), "custom".into()]);
    assert!(!login.in_metadata);
    assert_eq!(stub.asked(), ["/user?username=a+b&password=p%26w"]);
    let refused = Answer::from_bool(false);
    assert_eq!(ask(&login, Question::Vhost("/".into())).await, refused);
    assert_eq!(
        stub.asked(),
        ["/vhost?username=a+b&vhost=%2F&ip=127.0.0.1&tags=administrator+custom"]
    );
    assert_eq!(
        ask(&login, resource("q", Action::Write)).await,
        Answer::Allowed
    );
    assert_eq!(
        stub.asked(),
        [
            "/resource?username=a+b&vhost=%2F&resource=queue&name=q&permission=write&tags=administrator+custom"
        ]
    );
    let topic = Question::Topic {
        vhost: "/".into(),
        exchange: "amq.topic".into(),
        action: Action::Read,
        routing_key: "a.#".into(),
        client_id: None,
    };
    assert_eq!(ask(&login, topic).await, refused);
    assert_eq!(
        stub.asked(),
        [
            "/topic?username=a+b&vhost=%2F&resource=topic&name=amq.topic&permission=read&tags=administrator+custom&routing_key=a.%23&variable_map.username=a+b&variable_map.vhost=%2F"
        ]
    );
    // To see that something exists, one of the three is enough.
    assert_eq!(
        ask(&login, resource("q", Action::Any)).await,
        Answer::Allowed
    );
    assert_eq!(stub.asked().len(), 2);
}

#[tokio::test]
async fn a_form_is_posted_where_that_is_configured() {
    let stub = Stub::start(|_| (201, "allow")).await;
    let settings = HttpSettings {
        method: HttpMethod::Post,
        ..stub.settings()
    };
    let chain = chain(&[(BackendName::Http, &[])], settings);
    log_in(&chain, "anna", "secret").await.unwrap();
    assert_eq!(stub.asked(), ["POST /user username=anna&password=secret"]);
}

#[tokio::test]
async fn whatever_is_no_answer_refuses() {
    let stub = Stub::start(|request| match request {
        request if request.contains("username=tired") => (500, "oops"),
        request if request.contains("username=odd") => (200, "perhaps"),
        request if request.contains("username=bad") => (200, "deny because of reasons"),
        request if request.contains("/user") => (200, "allow"),
        request if request.contains("name=broken") => (503, ""),
        _ => (200, "deny not yours"),
    })
    .await;
    let settings = HttpSettings {
        discloses_reasons: true,
        ..stub.settings()
    };
    let chain = chain(&[(BackendName::Http, &[])], settings);
    for (user, reason) in [
        (
            "tired",
            "rabbit_auth_backend_http failed authenticating tired: {500,\"oops\"}",
        ),
        (
            "odd",
            "rabbit_auth_backend_http failed authenticating odd: {bad_response,\"perhaps\"}",
        ),
        ("bad", "Denied by the backing HTTP service"),
    ] {
        assert_eq!(log_in(&chain, user, "x").await.unwrap_err(), reason);
    }
    let login = log_in(&chain, "anna", "x").await.unwrap();
    let note = |text: &str| Answer::Refused { note: text.into() };
    assert_eq!(
        ask(&login, resource("q", Action::Configure)).await,
        note(" by backend rabbit_auth_backend_http: not yours")
    );
    assert_eq!(
        ask(&login, resource("broken", Action::Configure)).await,
        note(", backend rabbit_auth_backend_http returned an error: {503,\"\"}")
    );
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_refuses_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let settings = HttpSettings {
        user_path: url.parse().unwrap(),
        request_timeout: Duration::from_millis(50),
        ..HttpSettings::default()
    };
    let silent = chain(&[(BackendName::Http, &[])], settings.clone());
    assert_eq!(
        log_in(&silent, "anna", "x").await.unwrap_err(),
        "rabbit_auth_backend_http failed authenticating anna: timeout"
    );
    drop(listener);
    let settings = HttpSettings {
        request_timeout: Duration::from_secs(60),
        ..settings
    };
    let away = chain(&[(BackendName::Http, &[])], settings);
    let reason = log_in(&away, "anna", "x").await.unwrap_err();
    assert!(
        reason.starts_with("rabbit_auth_backend_http failed authenticating anna: connect to"),
        "{reason}"
    );
}

#[tokio::test]
async fn links_are_tried_in_order_until_one_lets_in() {
    let stub = Stub::start(|request| {
        if request.contains("username=anna") {
            (200, "allow")
        } else {
            (200, "deny")
        }
    })
    .await;
    let links: &[(BackendName, &[BackendName])] =
        &[(BackendName::Http, &[]), (BackendName::Internal, &[])];
    let chain = chain(links, stub.settings());
    assert!(!log_in(&chain, "anna", "x").await.unwrap().in_metadata);
    let bob = log_in(&chain, "bob", "builder").await.unwrap();
    assert!(bob.in_metadata && bob.authority.is_none());
    // Which is the same as if there were nobody else.
    assert!(Principal::from(bob).authority().is_none());
    assert_eq!(
        log_in(&chain, "bob", "wrong").await.unwrap_err(),
        "user 'bob' - invalid credentials"
    );
}

#[tokio::test]
async fn one_may_let_in_and_another_decide() {
    let stub = Stub::start(|_| (200, "allow tag")).await;
    let internal_http: &[(BackendName, &[BackendName])] =
        &[(BackendName::Internal, &[BackendName::Http])];
    let chain_1 = chain(internal_http, stub.settings());
    let bob = log_in(&chain_1, "bob", "builder").await.unwrap();
    assert!(!bob.in_metadata && bob.authority.is_some());
    // Only whoever has let in gives tags.
    assert!(bob.tags.is_empty());
    assert!(log_in(&chain_1, "bob", "wrong").await.is_err());
    stub.asked();

    let http_internal: &[(BackendName, &[BackendName])] =
        &[(BackendName::Http, &[BackendName::Internal])];
    let chain_2 = chain(http_internal, stub.settings());
    let bob = log_in(&chain_2, "bob", "anything").await.unwrap();
    assert!(bob.in_metadata && bob.authority.is_none());
    assert_eq!(bob.tags, [Box::from("tag")]);
    assert_eq!(
        log_in(&chain_2, "nobody", "anything").await.unwrap_err(),
        "user 'nobody' - invalid credentials"
    );
}

#[tokio::test]
async fn the_cache_asks_once_and_keeps_no_refusal() {
    let stub = Stub::start(|request| match request {
        request if request.contains("password=right") => (200, "allow"),
        request if request.contains("name=yes") => (200, "allow"),
        _ => (200, "deny"),
    })
    .await;
    let chain = chain(&[(BackendName::Cache, &[])], stub.settings());
    for _ in 0..3 {
        let login = log_in(&chain, "anna", "right").await.unwrap();
        assert!(log_in(&chain, "anna", "wrong").await.is_err());
        let yes = resource("yes", Action::Configure);
        assert_eq!(ask(&login, yes).await, Answer::Allowed);
        let no = resource("no", Action::Configure);
        assert_ne!(ask(&login, no).await, Answer::Allowed);
    }
    let asked = stub.asked();
    let count = |part: &str| asked.iter().filter(|one| one.contains(part)).count();
    // To let in, and to decide.
    assert_eq!(count("password=right"), 2);
    assert_eq!(count("password=wrong"), 3);
    assert_eq!(count("name=yes"), 1);
    assert_eq!(count("name=no"), 3);
}

#[tokio::test]
async fn passwords_are_kept_by_the_cache_for_its_time_only() {
    let settings = Settings {
        backends: vec![Link {
            authn: BackendName::Cache,
            authz: vec![],
        }],
        cache: CacheSettings {
            ttl: Duration::ZERO,
            ..CacheSettings::default()
        },
        ..Settings::default()
    };
    let chain = Chain::new(&settings).unwrap().unwrap();
    let bob = log_in(&chain, "bob", "builder").await.unwrap();
    // What is remembered is not the metadata as it is now.
    assert!(!bob.in_metadata);
    assert_eq!(
        ask(&bob, resource("bob-1", Action::Configure)).await,
        Answer::Allowed
    );
    assert_ne!(
        ask(&bob, resource("other", Action::Configure)).await,
        Answer::Allowed
    );
}

#[tokio::test]
async fn some_backends_are_for_this_machine_or_for_nobody() {
    let local: &[(BackendName, &[BackendName])] = &[(BackendName::InternalLoopback, &[])];
    let chain_1 = chain(local, HttpSettings::default());
    assert!(
        log_in(&chain_1, "bob", "builder")
            .await
            .unwrap()
            .in_metadata
    );
    let far = Credentials {
        address: "192.0.2.1".parse().unwrap(),
        is_loopback: false,
        ..credentials("bob", "builder")
    };
    let refused = Arc::clone(&chain_1).log_in(metadata(), far).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("not from loopback/localhost")
    );
    let dummy: &[(BackendName, &[BackendName])] = &[(BackendName::Dummy, &[])];
    let chain_2 = chain(dummy, HttpSettings::default());
    assert_eq!(
        log_in(&chain_2, "bob", "builder").await.unwrap_err(),
        "cannot log in conventionally as dummy user"
    );
    // A certificate needs no password.
    let external = Credentials {
        password: None,
        ..credentials("bob", "")
    };
    let found = Arc::clone(&chain_1).log_in(metadata(), external).await;
    assert_eq!(found.unwrap().name, Name::from("bob"));
}

/// A token of this user, as its issuer signs it.
fn token(user: &str, expires_s: u64, scope: &str) -> String {
    let claims = serde_json::json!({
        "sub": user, "aud": "rabbitmq", "exp": expires_s, "scope": scope,
    });
    let header = jsonwebtoken::Header {
        kid: Some("k".to_owned()),
        ..jsonwebtoken::Header::default()
    };
    let key = jsonwebtoken::EncodingKey::from_secret(b"secret");
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

/// Tokens first, and then whoever the metadata knows.
fn chain_of_tokens() -> Arc<Chain> {
    let mut settings = Settings::default();
    let link = |authn| Link {
        authn,
        authz: vec![],
    };
    settings.backends = vec![link(BackendName::OAuth2), link(BackendName::Internal)];
    let oauth2 = &mut settings.oauth2;
    oauth2.set(&["resource_server_id"], "rabbitmq").unwrap();
    let jwk = r#"{"kty":"MAC","alg":"HS256","value":"secret"}"#;
    oauth2.set(&["signing_keys", "k"], jwk).unwrap();
    Chain::new(&settings).unwrap().unwrap()
}

/// In the year 2100.
const LATER_S: u64 = 4_102_444_800;

#[tokio::test]
async fn a_token_lets_its_user_in_and_says_what_it_may_do() {
    let chain = chain_of_tokens();
    let scope = "rabbitmq.read:%2F/q-* rabbitmq.tag:management";
    let anna = token("anna", LATER_S, scope);
    let login = log_in(&chain, "whatever", &anna).await.unwrap();
    assert_eq!((&*login.name, login.expires_s), ("anna", Some(LATER_S)));
    assert_eq!(login.tags, [Box::from("management")]);
    assert!(!login.in_metadata);
    for (question, expected) in [
        (resource("q-1", Action::Read), true),
        (resource("q-1", Action::Any), true),
        (resource("q-1", Action::Write), false),
        (resource("other", Action::Read), false),
        (Question::Vhost("/".into()), true),
        (Question::Vhost("other".into()), false),
    ] {
        let answer = login.authority.as_ref().unwrap().decide(&question);
        assert_eq!(answer, Some(Answer::from_bool(expected)), "{question:?}");
    }
    // What is no token is a password of the metadata.
    assert!(log_in(&chain, "bob", "builder").await.unwrap().in_metadata);
    let refused = log_in(&chain, "bob", &token("bob", 1, "")).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_token_is_renewed_with_what_it_says() {
    let chain = chain_of_tokens();
    let first = token("anna", LATER_S, "rabbitmq.tag:management");
    let login = log_in(&chain, "anna", &first).await.unwrap();
    let renew = async |token: &str| {
        let authority = Arc::clone(login.authority.as_ref().unwrap());
        authority.renew(Secret::new(token.as_bytes())).await
    };
    let second = token(
        "anna",
        LATER_S + 1,
        "rabbitmq.tag:monitoring rabbitmq.write:*/*",
    );
    let renewed = renew(&second).await.unwrap();
    assert_eq!(renewed.expires_s, Some(LATER_S + 1));
    assert_eq!(renewed.tags, [Box::from("monitoring")]);
    let allowed = ask(&renewed, resource("x", Action::Write)).await;
    assert_eq!(allowed, Answer::Allowed);
    for bad in [
        &token("bert", LATER_S, ""),
        &token("anna", 1, ""),
        "nonsense",
    ] {
        assert!(matches!(renew(bad).await, Err(RenewFailure::Refused(_))));
    }
}
