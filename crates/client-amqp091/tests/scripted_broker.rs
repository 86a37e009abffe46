//! The client against a broker that follows a script: what it sends is fixed, what it gets is checked.

#![expect(
    clippy::unwrap_used,
    reason = "a script that cannot go on is a failed test"
)]

use client_amqp091::codec::{
    BasicProperties, Frame, FrameKind, Method, PROTOCOL_HEADER, Table, basic, channel, connection,
    decode_frame, encode_body_frames, encode_header_frame, queue,
};
use client_amqp091::{
    AmqpUri, ConnectOptions, Connection, ConsumeOptions, Error, Event, QueueOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const FRAME_MAX: u32 = 8192;

/// The broker's end of a connection.
struct Script {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Script {
    /// Reads one frame and gives it to `check`.
    async fn expect(&mut self, check: impl FnOnce(Frame<'_>)) {
        loop {
            if let Some((frame, size)) = decode_frame(&self.received, FRAME_MAX).unwrap() {
                check(frame);
                self.received.drain(..size);
                return;
            }
            self.read_more().await;
        }
    }

    async fn expect_method(&mut self, check: impl FnOnce(u16, Method<'_>)) {
        let check = |frame: Frame<'_>| {
            assert_eq!(frame.kind, FrameKind::Method);
            check(frame.channel, Method::decode(frame.payload).unwrap());
        };
        self.expect(check).await;
    }

    async fn read_more(&mut self) {
        let count = self.stream.read_buf(&mut self.received).await.unwrap();
        assert!(count > 0, "the client went away");
    }

    async fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn expect_header(&mut self) {
        while self.received.len() < 8 {
            self.read_more().await;
        }
        assert_eq!(self.received[..8], PROTOCOL_HEADER);
        self.received.drain(..8);
    }

    async fn start(&mut self) {
        self.expect_header().await;
        let start = connection::Start {
            version_minor: 9,
            mechanisms: b"AMQPLAIN PLAIN",
            locales: b"en_US",
            ..Default::default()
        };
        self.send(|out| start.encode(0, out)).await;
        self.expect_method(|_, method| {
            let Method::ConnectionStartOk(start) = method else {
                panic!("{method:?}");
            };
            assert_eq!(
                (start.mechanism, start.response),
                (&b"PLAIN"[..], &b"\0user\0pass"[..])
            );
        })
        .await;
    }

    /// A handshake that succeeds.
    async fn open(&mut self) {
        self.start().await;
        let tune = connection::Tune {
            channel_max: 100,
            frame_max: FRAME_MAX,
            heartbeat: 60,
        };
        self.send(|out| tune.encode(0, out)).await;
        self.expect_method(|_, method| {
            let Method::ConnectionTuneOk(tune) = method else {
                panic!("{method:?}");
            };
            assert_eq!(
                (tune.channel_max, tune.frame_max, tune.heartbeat),
                (100, FRAME_MAX, 60)
            );
        })
        .await;
        self.expect_method(|_, method| {
            let Method::ConnectionOpen(open) = method else {
                panic!("{method:?}");
            };
            assert_eq!(open.virtual_host, b"v");
        })
        .await;
        self.send(|out| connection::OpenOk::default().encode(0, out))
            .await;
    }
}

/// Runs `broker` and `client` against each other.
async fn play<B, C>(
    broker: impl FnOnce(Script) -> B,
    client: impl FnOnce(AmqpUri) -> C,
) -> C::Output
where
    B: Future<Output = ()>,
    C: Future,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let uri = AmqpUri {
        port: listener.local_addr().unwrap().port(),
        user: "user".to_owned(),
        password: "pass".to_owned(),
        vhost: "v".to_owned(),
        ..Default::default()
    };
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let received = Vec::new();
        broker(Script { stream, received }).await;
    };
    let ((), result) = tokio::join!(serve, client(uri));
    result
}

async fn connect(uri: AmqpUri) -> Result<Connection, Error> {
    Connection::connect(&uri, &ConnectOptions::default()).await
}

fn deliver(channel: u16, delivery_tag: u64, body: &[u8], out: &mut Vec<u8>) {
    basic::Deliver {
        consumer_tag: b"tag",
        delivery_tag,
        routing_key: b"q",
        ..Default::default()
    }
    .encode(channel, out);
    encode_header_frame(out, channel, body.len() as u64, &[0, 0]);
    encode_body_frames(out, channel, body, FRAME_MAX);
}

#[tokio::test]
async fn connect_declare_consume_ack_and_close() {
    let broker = |mut script: Script| async move {
        script.open().await;
        script
            .expect_method(|channel, method| {
                assert_eq!(channel, 1);
                assert!(matches!(method, Method::ChannelOpen(_)), "{method:?}");
            })
            .await;
        script
            .send(|out| channel::OpenOk::default().encode(1, out))
            .await;
        script
            .expect_method(|_, method| {
                let Method::QueueDeclare(declare) = method else {
                    panic!("{method:?}");
                };
                assert!(declare.durable && !declare.exclusive);
                assert_eq!(declare.queue, b"q");
            })
            .await;
        let declared = queue::DeclareOk {
            queue: b"q",
            message_count: 3,
            consumer_count: 0,
        };
        script.send(|out| declared.encode(1, out)).await;
        script
            .expect_method(|_, method| assert!(matches!(method, Method::BasicConsume(_))))
            .await;
        // A delivery may overtake nothing, but may follow at once in the same segment.
        script
            .send(|out| {
                basic::ConsumeOk {
                    consumer_tag: b"tag",
                }
                .encode(1, out);
                deliver(1, 1, &[b'x'; 20_000], out);
            })
            .await;
        script
            .expect_method(|_, method| {
                let ack = basic::Ack {
                    delivery_tag: 1,
                    multiple: false,
                };
                assert_eq!(method, Method::BasicAck(ack));
            })
            .await;
        script
            .expect_method(|_, method| assert!(matches!(method, Method::ConnectionClose(_))))
            .await;
        script.send(|out| connection::CloseOk.encode(0, out)).await;
    };
    let client = |uri| async move {
        let mut connection = connect(uri).await?;
        assert_eq!(connection.channel_max(), 100);
        connection.open_channel(1).await?;
        let durable = QueueOptions {
            durable: true,
            ..Default::default()
        };
        let declared = connection
            .declare_queue(1, "q", durable, Table::empty())
            .await?;
        assert_eq!((declared.name.as_str(), declared.message_count), ("q", 3));
        let options = ConsumeOptions::default();
        assert_eq!(
            connection
                .consume(1, "q", "", options, Table::empty())
                .await?,
            "tag"
        );
        let Event::Delivery(delivery) = connection.next_event().await? else {
            panic!("no delivery");
        };
        assert_eq!((delivery.body.len(), delivery.delivery_tag), (20_000, 1));
        assert_eq!(delivery.properties()?, BasicProperties::default());
        connection.ack(1, 1, false).await?;
        connection.close().await
    };
    play(broker, client).await.unwrap();
}

#[tokio::test]
async fn publish_confirm_and_get() {
    let broker = |mut script: Script| async move {
        script.open().await;
        script
            .expect_method(|_, method| assert!(matches!(method, Method::BasicPublish(_))))
            .await;
        script
            .expect(|frame| assert_eq!(frame.kind, FrameKind::Header))
            .await;
        script
            .expect(|frame| assert_eq!(frame.payload, b"hello"))
            .await;
        let ack = basic::Ack {
            delivery_tag: 1,
            multiple: false,
        };
        script.send(|out| ack.encode(1, out)).await;
        script
            .expect_method(|_, method| assert!(matches!(method, Method::BasicGet(_))))
            .await;
        script
            .send(|out| {
                // A confirm of the same channel, and what a consumer on another one gets, come in between.
                basic::Ack {
                    delivery_tag: 2,
                    multiple: false,
                }
                .encode(1, out);
                deliver(2, 5, b"aside", out);
                basic::GetOk {
                    delivery_tag: 1,
                    message_count: 7,
                    ..Default::default()
                }
                .encode(1, out);
                encode_header_frame(out, 1, 3, &[0, 0]);
                deliver(2, 6, b"aside", out);
                encode_body_frames(out, 1, b"got", FRAME_MAX);
            })
            .await;
        script
            .expect_method(|_, method| assert!(matches!(method, Method::BasicGet(_))))
            .await;
        script
            .send(|out| basic::GetEmpty::default().encode(1, out))
            .await;
    };
    let client = |uri| async move {
        let mut connection = connect(uri).await?;
        let publish = basic::Publish {
            routing_key: b"q",
            ..Default::default()
        };
        connection
            .publish(1, &publish, &BasicProperties::default(), b"hello")
            .await?;
        let event = connection.next_event().await?;
        assert!(
            matches!(
                event,
                Event::Confirmed {
                    channel: 1,
                    delivery_tag: 1,
                    ..
                }
            ),
            "{event:?}"
        );
        let message = connection.get(1, "q", false).await?.expect("a message");
        assert_eq!(
            (message.body.as_slice(), message.message_count),
            (&b"got"[..], 7)
        );
        assert_eq!(connection.get(1, "q", false).await?, None);
        let event = connection.next_event().await?;
        let is_second = matches!(
            event,
            Event::Confirmed {
                delivery_tag: 2,
                ..
            }
        );
        assert!(is_second, "{event:?}");
        for expected in [5, 6] {
            let Event::Delivery(delivery) = connection.next_event().await? else {
                panic!("no delivery");
            };
            assert_eq!((delivery.channel, delivery.delivery_tag), (2, expected));
        }
        Ok::<(), Error>(())
    };
    play(broker, client).await.unwrap();
}

#[tokio::test]
async fn a_refused_login_is_told_in_the_brokers_words() {
    let broker = |mut script: Script| async move {
        script.start().await;
        let close = connection::Close {
            reply_code: 403,
            reply_text: b"ACCESS_REFUSED - no",
            ..Default::default()
        };
        script.send(|out| close.encode(0, out)).await;
    };
    let error = play(broker, connect).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "connection closed by broker: 403 ACCESS_REFUSED - no"
    );
}

#[tokio::test]
async fn a_socket_closed_in_the_handshake_says_where() {
    let broker = |mut script: Script| async move { script.start().await };
    let error = play(broker, connect).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "broker closed the socket during connection.tune (login)"
    );
}

#[tokio::test]
async fn another_protocol_is_recognised() {
    let broker = |mut script: Script| async move {
        script.expect_header().await;
        script
            .send(|out| out.extend_from_slice(b"AMQP\x03\x01\x00\x00"))
            .await;
    };
    let error = play(broker, connect).await.unwrap_err();
    assert!(matches!(error, Error::ProtocolVersion { .. }), "{error:?}");
}

#[tokio::test]
async fn a_closed_channel_leaves_the_connection_open() {
    let broker = |mut script: Script| async move {
        script.open().await;
        script
            .expect_method(|_, method| assert!(matches!(method, Method::QueuePurge(_))))
            .await;
        let close = channel::Close {
            reply_code: 404,
            reply_text: b"NOT_FOUND",
            ..Default::default()
        };
        script.send(|out| close.encode(1, out)).await;
        script
            .expect_method(|channel, method| {
                assert_eq!(
                    (channel, method),
                    (1, Method::ChannelCloseOk(channel::CloseOk))
                );
            })
            .await;
        script
            .expect_method(|_, method| assert!(matches!(method, Method::ChannelOpen(_))))
            .await;
        script
            .send(|out| channel::OpenOk::default().encode(1, out))
            .await;
    };
    let client = |uri| async move {
        let mut connection = connect(uri).await?;
        let error = connection.purge_queue(1, "q").await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::ChannelClosed {
                    channel: 1,
                    reply_code: 404,
                    ..
                }
            ),
            "{error:?}"
        );
        connection.open_channel(1).await
    };
    play(broker, client).await.unwrap();
}

#[tokio::test]
async fn a_method_that_fits_no_frame_is_not_sent() {
    let broker = |mut script: Script| async move {
        script.open().await;
        script
            .expect_method(|_, method| assert!(matches!(method, Method::BasicQos(_))))
            .await;
        script.send(|out| basic::QosOk.encode(1, out)).await;
    };
    let client = |uri| async move {
        let mut connection = connect(uri).await?;
        let arguments = vec![0; FRAME_MAX as usize + 10];
        let table = Table::new(&arguments);
        let error = connection
            .declare_queue(1, "q", QueueOptions::default(), table)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::MethodTooLarge { .. }), "{error:?}");
        connection.qos(1, 10).await
    };
    play(broker, client).await.unwrap();
}
