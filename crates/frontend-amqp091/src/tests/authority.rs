//! Users whom somebody outside the metadata lets in and decides about: what waits, what goes on, what is asked again.

use super::*;
use broker::auth::{
    Action, Answer, Authenticator, Authority, Credentials, Login, LoginFailure, Pending, Question,
    RenewFailure, Secret,
};
use broker::command::AccessReply;
use std::sync::Mutex;

/// Lets in who says `secret`, and allows what begins with `own`.
#[derive(Debug, Default)]
struct Gate {
    asked: Mutex<Vec<Question>>,
    /// When credentials end.
    expires_s: Option<u64>,
    /// Nothing has to be asked.
    knows: bool,
    /// What it allows.
    prefix: Option<&'static str>,
}

impl Gate {
    fn config(self) -> (Arc<Self>, Config) {
        let gate = Arc::new(self);
        let config = Config {
            authenticator: Some(Arc::clone(&gate) as Arc<dyn Authenticator>),
            ..Config::default()
        };
        (gate, config)
    }

    fn login(self: Arc<Self>) -> Login {
        Login {
            tags: vec!["management".into()],
            in_metadata: false,
            expires_s: self.expires_s,
            authority: Some(self),
            ..Login::internal("anna".into())
        }
    }

    fn answer(&self, question: &Question) -> Answer {
        let prefix = self.prefix.unwrap_or("own");
        Answer::from_bool(match question {
            Question::Vhost(vhost) => **vhost == *"/",
            Question::Resource { name, .. } => name.starts_with(prefix) || name.starts_with("amq."),
            Question::Topic { routing_key, .. } => routing_key.starts_with(prefix),
        })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Authenticator for Gate {
    fn log_in(
        self: Arc<Self>,
        _metadata: Arc<Metadata>,
        credentials: Credentials,
    ) -> Pending<Result<Login, LoginFailure>> {
        let password = credentials.password.as_ref().map(Secret::expose);
        let result = if password == Some(b"secret") {
            Ok(self.login())
        } else {
            Err(LoginFailure("no".into()))
        };
        Box::pin(std::future::ready(result))
    }
}

impl Authority for Gate {
    fn decide(&self, question: &Question) -> Option<Answer> {
        self.knows.then(|| self.answer(question))
    }

    fn ask(self: Arc<Self>, _metadata: Arc<Metadata>, question: Question) -> Pending<Answer> {
        let answer = self.answer(&question);
        self.asked.lock().unwrap().push(question);
        Box::pin(std::future::ready(answer))
    }

    fn ask_again(
        self: Arc<Self>,
        _metadata: Arc<Metadata>,
        question: Question,
    ) -> Pending<Option<Answer>> {
        Box::pin(std::future::ready(Some(self.answer(&question))))
    }

    fn identity(&self) -> Arc<str> {
        "anna".into()
    }

    fn renew(self: Arc<Self>, secret: Secret) -> Pending<Result<Login, RenewFailure>> {
        let result = match secret.expose() {
            b"later" => Ok(Arc::new(Self {
                expires_s: self.expires_s.map(|expires_s| expires_s + 100),
                knows: self.knows,
                ..Self::default()
            })
            .login()),
            b"less" => Ok(Arc::new(Self {
                knows: true,
                prefix: Some("nothing"),
                ..Self::default()
            })
            .login()),
            b"broken" => Err(RenewFailure::Failed("nobody there".into())),
            _ => Err(RenewFailure::Refused("no".into())),
        };
        Box::pin(std::future::ready(result))
    }
}

fn open(vhost: &str) -> Method<'_> {
    Method::ConnectionOpen(connection::Open {
        virtual_host: vhost.as_bytes(),
        ..Default::default()
    })
}

fn started(world: &mut World, response: &[u8]) -> ConnectionId {
    let id = world.accept();
    world.feed(id, &PROTOCOL_HEADER);
    world.hear(id);
    world.send(id, 0, start_ok(&all_capabilities(), b"PLAIN", response));
    id
}

/// A connection of anna with channel 1 open.
fn connected(world: &mut World) -> ConnectionId {
    let id = started(world, b"\0anna\0secret");
    assert_eq!(world.hear(id), ["0 connection.tune 2047 131072 60"]);
    let tune_ok = connection::TuneOk {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 0,
    };
    world.send(id, 0, Method::ConnectionTuneOk(tune_ok));
    assert_eq!(world.ask(id, 0, open("/")), ["0 connection.open-ok"]);
    assert_eq!(
        world.ask(id, 1, Method::ChannelOpen(channel::Open::default())),
        ["1 channel.open-ok"]
    );
    id
}

fn update_secret(secret: &[u8]) -> Method<'_> {
    Method::ConnectionUpdateSecret(connection::UpdateSecret {
        new_secret: secret,
        reason: b"test",
    })
}

#[test]
fn a_login_waits_for_whoever_knows_the_user() {
    let (_, config) = Gate::default().config();
    let mut world = World::with_config(config);
    connected(&mut world);
    let id = started(&mut world, b"\0guest\0guest");
    assert_eq!(
        world.hear(id),
        [
            "0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile. (0,0)"
        ]
    );
}

#[test]
fn frames_behind_connection_open_wait_with_it() {
    let (_, config) = Gate::default().config();
    let mut world = World::with_config(config);
    let id = started(&mut world, b"\0anna\0secret");
    world.hear(id);
    world.hold();
    let mut frames = Vec::new();
    let tune_ok = connection::TuneOk {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 0,
    };
    Method::ConnectionTuneOk(tune_ok).encode(0, &mut frames);
    open("/").encode(0, &mut frames);
    Method::ChannelOpen(channel::Open::default()).encode(1, &mut frames);
    Method::QueueDeclare(declare("own")).encode(1, &mut frames);
    world.feed(id, &frames);
    assert_eq!(world.hear(id), [""; 0]);
    assert!(!world.machine(id).wants_input());
    world.release();
    assert_eq!(
        world.hear(id),
        [
            "0 connection.open-ok",
            "1 channel.open-ok",
            "1 queue.declare-ok own 0 0"
        ]
    );
}

#[test]
fn a_vhost_can_be_refused() {
    let (_, config) = Gate::default().config();
    let mut world = World::with_config(config);
    world.apply(MetadataCommand::CreateVhost {
        name: "other".into(),
        metadata: Default::default(),
    });
    let id = started(&mut world, b"\0anna\0secret");
    world.hear(id);
    let tune_ok = connection::TuneOk {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 0,
    };
    world.send(id, 0, Method::ConnectionTuneOk(tune_ok));
    assert_eq!(
        world.ask(id, 0, open("other")),
        [
            "0 connection.close 530 NOT_ALLOWED - access to vhost 'other' refused for user 'anna' (10,40)"
        ]
    );
}

#[test]
fn what_waits_for_a_permission_goes_on_in_order() {
    let (gate, config) = Gate::default().config();
    let mut world = World::with_config(config);
    let id = connected(&mut world);
    world.hold();
    let mut frames = Vec::new();
    Method::ConfirmSelect(confirm::Select::default()).encode(1, &mut frames);
    Method::QueueDeclare(declare("own")).encode(1, &mut frames);
    for body in [&b"1"[..], b"2", b"3"] {
        frames.extend(message(
            1,
            publish("", "own"),
            &BasicProperties::default(),
            body,
        ));
    }
    Method::BasicGet(basic::Get {
        queue: b"own",
        no_ack: true,
        ..Default::default()
    })
    .encode(1, &mut frames);
    world.feed(id, &frames);
    assert_eq!(world.hear(id), ["1 confirm.select-ok"]);
    world.release();
    let heard = world.hear(id);
    assert_eq!(heard[0], "1 queue.declare-ok own 0 0");
    assert!(
        heard
            .iter()
            .any(|line| line.starts_with("1 basic.get-ok") && line.ends_with("[1] 1")),
        "{heard:?}"
    );
    // One each for the vhost, to declare, to publish and to get.
    assert_eq!(gate.asked(), 4);
    let refused = world.ask(id, 1, Method::QueueDeclare(declare("other")));
    assert_eq!(
        refused,
        [
            "1 channel.close 403 ACCESS_REFUSED - configure access to queue 'other' in vhost '/' refused for user 'anna' (50,10)"
        ]
    );
}

#[test]
fn a_name_that_the_server_chooses_is_asked_about_once() {
    let (gate, config) = Gate::default().config();
    let mut world = World::with_config(config);
    let id = connected(&mut world);
    let before = gate.asked();
    let heard = world.ask(id, 1, Method::QueueDeclare(declare("")));
    assert!(
        heard[0].starts_with("1 queue.declare-ok amq.gen-"),
        "{heard:?}"
    );
    assert_eq!(gate.asked(), before + 1);
}

#[test]
fn old_answers_are_asked_for_again() {
    let (gate, config) = Gate::default().config();
    let mut world = World::with_config(config);
    let id = connected(&mut world);
    let send = |world: &mut World| {
        let frames = message(1, publish("", "own"), &BasicProperties::default(), b"body");
        world.feed(id, &frames);
        gate.asked()
    };
    let first = send(&mut world);
    assert_eq!(send(&mut world), first);
    world.pass(Duration::from_secs(59));
    assert_eq!(send(&mut world), first);
    world.pass(Duration::from_secs(2));
    assert_eq!(send(&mut world), first + 1);
    assert_eq!(world.hear(id), [""; 0]);
}

#[test]
fn a_routing_key_of_a_topic_exchange_can_be_refused() {
    let (_, config) = Gate::default().config();
    let mut world = World::with_config(config);
    let id = connected(&mut world);
    for key in ["own.1", "others.1"] {
        let publish = publish("amq.topic", key);
        world.feed(id, &message(1, publish, &BasicProperties::default(), b""));
    }
    assert_eq!(
        world.hear(id),
        [
            "1 channel.close 403 ACCESS_REFUSED - write access to topic 'others.1' in exchange 'amq.topic' in vhost '/' refused for user 'anna' (60,40)"
        ]
    );
}

#[test]
fn credentials_that_end_close_the_connection_unless_they_are_renewed() {
    let (_, config) = Gate {
        expires_s: Some(100),
        knows: true,
        ..Gate::default()
    }
    .config();
    let mut world = World::with_config(config);
    let renewing = connected(&mut world);
    let other = connected(&mut world);
    assert_eq!(
        world.ask(renewing, 0, update_secret(b"later")),
        ["0 connection.update-secret-ok"]
    );
    world.pass(Duration::from_millis(99_999));
    assert_eq!(world.hear(other), [""; 0]);
    world.pass(Duration::from_millis(1));
    let expired = ["0 connection.close 320 CONNECTION_FORCED - credential expired (0,0)"];
    assert_eq!(world.hear(other), expired);
    assert_eq!(world.hear(renewing), [""; 0]);
    world.pass(Duration::from_secs(100));
    assert_eq!(world.hear(renewing), expired);
}

#[test]
fn a_new_secret_can_be_refused() {
    let (_, config) = Gate::default().config();
    let mut world = World::with_config(config);
    for (secret, text) in [
        (
            &b"wrong"[..],
            "New secret was refused by one of the backends",
        ),
        (b"broken", "Secret update failed"),
    ] {
        let id = connected(&mut world);
        assert_eq!(
            world.ask(id, 0, update_secret(secret)),
            [format!(
                "0 connection.close 530 NOT_ALLOWED - {text} (10,70)"
            )]
        );
    }
}

#[test]
fn what_is_not_allowed_any_more_ends() {
    let (gate, config) = Gate::default().config();
    let mut world = World::with_config(config);
    let id = connected(&mut world);
    let to = crate::request::connection_address(id);
    let changed = |question: Question| {
        Reply::Access(Box::new(AccessReply::Changed {
            question,
            answer: Answer::from_bool(false),
        }))
    };
    let may = |name: &str, action| Question::Resource {
        vhost: "/".into(),
        kind: ResourceKind::Queue,
        name: name.into(),
        action,
    };
    for name in ["own", "own-too"] {
        world.send(id, 1, Method::QueueDeclare(declare(name)));
        world.send(id, 1, Method::BasicConsume(consume(name, name)));
    }
    world.hear(id);
    world.reply(to, changed(may("own", Action::Read)));
    world.run();
    assert_eq!(world.hear(id), ["1 basic.cancel own"]);
    // The next time it is asked for again.
    let before = gate.asked();
    let passive = world.ask(id, 1, Method::BasicConsume(consume("own", "again")));
    assert_eq!(passive, ["1 basic.consume-ok again"]);
    assert_eq!(gate.asked(), before + 1);
    world.reply(to, changed(Question::Vhost("/".into())));
    world.run();
    assert_eq!(
        world.hear(id),
        ["0 connection.close 530 NOT_ALLOWED - access to vhost '/' refused for user 'anna' (0,0)"]
    );
}

#[test]
fn consumers_that_a_new_secret_does_not_allow_end() {
    let (_, config) = Gate::default().config();
    let mut world = World::with_config(config);
    let id = connected(&mut world);
    world.send(id, 1, Method::QueueDeclare(declare("own")));
    world.send(id, 1, Method::BasicConsume(consume("own", "tag")));
    world.hear(id);
    let heard = world.ask(id, 0, update_secret(b"less"));
    assert_eq!(
        heard,
        ["1 basic.cancel tag", "0 connection.update-secret-ok"]
    );
    let refused = world.ask(id, 1, Method::QueueDeclare(declare("own")));
    assert!(refused[0].contains("403 ACCESS_REFUSED"), "{refused:?}");
}
