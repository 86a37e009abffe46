//! A connection over TCP: moves bytes between a socket and the two halves, and awaits replies.
//!
//! Two ways to use it, which mix: the `async` calls send a request and wait for its reply; [`Connection::parts`] with
//! [`try_write`](Connection::try_write), [`try_read`](Connection::try_read) and [`ready`](Connection::ready) let a busy
//! caller append and take thousands of messages for each system call. What comes in while a call awaits its reply is
//! kept and seen by the next poll.
//!
//! Heartbeats need no task: they are sent and missed when the connection is driven, so a connection that is open must
//! be driven (any waiting call does).

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use codec_amqp091::{
    BasicProperties, FRAME_OVERHEAD, Method, Table, basic, channel, confirm, connection,
    encode_heartbeat, exchange, queue,
};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::error::Error;
use crate::handshake::{Handshake, Negotiated};
use crate::incoming::{Event, GetContent, Incoming, Message, MethodId};
use crate::outgoing::Outgoing;
use crate::uri::AmqpUri;

/// What a client asks for and how much it bears.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Name shown by the broker's tools.
    pub connection_name: Option<String>,
    /// Highest channel number to ask for.
    pub channel_max: u16,
    /// Largest frame to ask for, in bytes, 8192 or more.
    pub frame_max: u32,
    /// Heartbeat interval to ask for, in seconds; 0 for none.
    pub heartbeat_seconds: u16,
    /// Longest wait for the TCP connection, for each step of the handshake, and for each reply.
    pub reply_timeout: Duration,
    /// Size of the read buffer in bytes; at least two frames are made room for.
    pub read_buffer_bytes: usize,
    /// Most bytes that half-received messages may hold together; also the largest message.
    pub content_bytes_max: usize,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connection_name: None,
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat_seconds: 60,
            reply_timeout: Duration::from_secs(30),
            read_buffer_bytes: 256 << 10,
            content_bytes_max: 512 << 20,
        }
    }
}

/// What a queue is declared as.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueOptions {
    /// It must exist already; the other fields are ignored by the broker.
    pub passive: bool,
    /// It survives a restart.
    pub durable: bool,
    /// It belongs to this connection and goes with it.
    pub exclusive: bool,
    /// It goes when its last consumer does.
    pub auto_delete: bool,
}

/// How a consumer takes messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsumeOptions {
    /// Deliveries count as acked when they are sent.
    pub no_ack: bool,
    /// No other consumer may use the queue.
    pub exclusive: bool,
}

/// A queue as `declare-ok` tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDeclared {
    /// Its name; given by the broker if it was declared with an empty one.
    pub name: String,
    /// Ready messages in it.
    pub message_count: u32,
    /// Its consumers.
    pub consumer_count: u32,
}

/// An open connection. Dropping it closes the socket without `connection.close`.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    incoming: Incoming,
    outgoing: Outgoing,
    negotiated: Negotiated,
    reply_timeout: Duration,
    last_read: Instant,
    last_write: Instant,
}

/// What the connection is doing when no call says better.
const TRAFFIC: &str = "traffic";

impl Connection {
    /// Connects, logs in and opens the vhost.
    ///
    /// # Errors
    /// The broker cannot be reached, refuses the login or the vhost, or breaks the protocol.
    pub async fn connect(uri: &AmqpUri, options: &ConnectOptions) -> Result<Self, Error> {
        let during = "connect";
        let address = (uri.host.as_str(), uri.port);
        let stream = within(options.reply_timeout, during, async {
            TcpStream::connect(address).await.map_err(Error::io(during))
        })
        .await?;
        stream.set_nodelay(true).map_err(Error::io(during))?;
        Self::over(stream, uri, options).await
    }

    /// Logs in and opens the vhost over a TCP connection that is there already.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn over(
        stream: TcpStream,
        uri: &AmqpUri,
        options: &ConnectOptions,
    ) -> Result<Self, Error> {
        let now = Instant::now();
        let mut connection = Self {
            stream,
            incoming: Incoming::new(options.read_buffer_bytes, options.content_bytes_max),
            outgoing: Outgoing::new(),
            negotiated: Negotiated {
                channel_max: 1,
                frame_max: 0,
                heartbeat: 0,
            },
            reply_timeout: options.reply_timeout,
            last_read: now,
            last_write: now,
        };
        let mut handshake = Handshake::new(uri, options, &mut connection.outgoing);
        let negotiated = connection.shake_hands(&mut handshake).await?;
        connection.negotiated = negotiated;
        connection.outgoing.set_frame_max(negotiated.frame_max);
        connection.incoming.set_frame_max(negotiated.frame_max);
        Ok(connection)
    }

    async fn shake_hands(&mut self, handshake: &mut Handshake<'_>) -> Result<Negotiated, Error> {
        loop {
            let during = handshake.waiting_for();
            within(self.reply_timeout, during, self.exchange(during)).await?;
            if let Some(offered) = self.incoming.protocol_header() {
                return Err(Error::ProtocolVersion { offered });
            }
            let (incoming, outgoing) = (&mut self.incoming, &mut self.outgoing);
            while let Some(event) = incoming.poll(outgoing)? {
                let Event::Reply { channel, method } = event else {
                    return Err(Error::UnexpectedFrame {
                        channel: 0,
                        found: "content in the handshake",
                    });
                };
                if let Some(negotiated) = handshake.handle(channel, &method, outgoing)? {
                    return Ok(negotiated);
                }
            }
        }
    }

    /// Highest channel number that may be opened.
    pub fn channel_max(&self) -> u16 {
        self.negotiated.channel_max
    }

    /// Both halves at once, so that events can be answered while they are looked at.
    #[inline]
    pub fn parts(&mut self) -> (&mut Incoming, &mut Outgoing) {
        (&mut self.incoming, &mut self.outgoing)
    }

    /// The write buffer.
    #[inline]
    pub fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// The next event that is in the read buffer, without reading from the socket.
    ///
    /// # Errors
    /// The broker broke the protocol or closed the connection.
    pub fn poll_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        self.incoming.poll(&mut self.outgoing)
    }

    /// Waits for the next event, writing what is pending meanwhile.
    ///
    /// # Errors
    /// The connection failed or was closed.
    pub async fn next_event(&mut self) -> Result<Event<'_>, Error> {
        let found = loop {
            match self.incoming.find()? {
                Some(found) => break found,
                None => self.exchange(TRAFFIC).await?,
            }
        };
        self.incoming.event(found, &mut self.outgoing)
    }

    /// Writes as much as the socket takes. Returns whether it took anything.
    ///
    /// # Errors
    /// The socket failed.
    pub fn try_write(&mut self) -> Result<bool, Error> {
        if self.outgoing.pending() == 0 {
            return Ok(false);
        }
        let Self {
            stream, outgoing, ..
        } = self;
        let written = outgoing.write_with(|bytes| stream.try_write(bytes));
        match written {
            Ok(count) => {
                self.last_write = Instant::now();
                Ok(count > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(source) => Err(Error::Io {
                during: "write",
                source,
            }),
        }
    }

    /// Reads once if there is something and the read buffer has room. Returns whether anything came.
    ///
    /// # Errors
    /// The socket failed or ended, or the broker has been silent for two heartbeat intervals.
    pub fn try_read(&mut self) -> Result<bool, Error> {
        self.try_read_during(TRAFFIC)
    }

    fn try_read_during(&mut self, during: &'static str) -> Result<bool, Error> {
        let Self {
            stream, incoming, ..
        } = self;
        if !incoming.has_space() {
            return Ok(false);
        }
        let now = Instant::now();
        match incoming.read_with(|space| stream.try_read(space)) {
            Ok(0) => Err(Error::SocketClosed { during }),
            Ok(_) => {
                self.last_read = now;
                self.keep_alive(now)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.keep_alive(now)?;
                Ok(false)
            }
            Err(source) => Err(Error::Io { during, source }),
        }
    }

    /// Puts a heartbeat into the buffer when one is due, and notices when the broker's are missing.
    fn keep_alive(&mut self, now: Instant) -> Result<(), Error> {
        let Some(interval) = self.heartbeat() else {
            return Ok(());
        };
        let silence = now.saturating_duration_since(self.last_read);
        if silence > 2 * interval {
            return Err(Error::HeartbeatMissed { silence });
        }
        if now.saturating_duration_since(self.last_write) >= interval / 2
            && self.outgoing.pending() == 0
        {
            encode_heartbeat(self.outgoing.bytes());
        }
        Ok(())
    }

    fn heartbeat(&self) -> Option<Duration> {
        let seconds = self.negotiated.heartbeat;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// Waits until something can be read or, if something is pending, written; or until a heartbeat is due.
    ///
    /// # Errors
    /// The runtime's reactor is gone.
    pub async fn ready(&mut self) -> Result<(), Error> {
        let interest = if self.outgoing.pending() > 0 {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        let ready = self.stream.ready(interest);
        let result = match self.heartbeat() {
            None => ready.await,
            Some(interval) => match tokio::time::timeout(interval / 2, ready).await {
                Ok(result) => result,
                Err(_heartbeat_is_due) => return Ok(()),
            },
        };
        result.map(|_| ()).map_err(Error::io("wait for the socket"))
    }

    /// Writes until nothing is pending. Reads meanwhile as far as there is room, since a broker may stop reading until
    /// what it wrote is taken.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn flush(&mut self) -> Result<(), Error> {
        while self.outgoing.pending() > 0 {
            if self.try_write()? || self.try_read()? {
                continue;
            }
            let interest = if self.incoming.has_space() {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::WRITABLE
            };
            let ready = self.stream.ready(interest).await;
            ready.map_err(Error::io("wait for the socket"))?;
        }
        Ok(())
    }

    /// Writes what is pending and waits until something was read.
    async fn exchange(&mut self, during: &'static str) -> Result<(), Error> {
        loop {
            self.try_write()?;
            if self.try_read_during(during)? {
                return Ok(());
            }
            self.ready().await?;
        }
    }

    // ---- requests with a reply ----

    /// Sends what is pending and waits for one of the `expected` methods on `channel`.
    async fn reply(
        &mut self,
        channel: u16,
        expected: &[MethodId],
        during: &'static str,
    ) -> Result<Vec<u8>, Error> {
        let result = self.reply_before_content(channel, expected, during).await;
        self.incoming.restore();
        result
    }

    /// As [`reply`](Self::reply), but what came before it stays aside, for the reply's content comes next.
    async fn reply_before_content(
        &mut self,
        channel: u16,
        expected: &[MethodId],
        during: &'static str,
    ) -> Result<Vec<u8>, Error> {
        let limit = self.reply_timeout;
        let waiting = async {
            loop {
                let (incoming, outgoing) = (&mut self.incoming, &mut self.outgoing);
                if let Some(payload) = incoming.take_reply(channel, expected, outgoing)? {
                    return Ok(payload);
                }
                self.exchange(during).await?;
            }
        };
        let result = within(limit, during, waiting).await;
        if result.is_err() {
            // A close-ok may be waiting; the broker frees the channel only when it comes.
            self.try_write()?;
        }
        result
    }

    /// Appends a method, which must fit a frame as no method can be split.
    fn request(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let frame_max = self.outgoing.frame_max();
        let bytes = self.outgoing.bytes();
        let before = bytes.len();
        encode(bytes);
        let size = bytes.len() - before;
        if frame_max > 0 && size > frame_max as usize + FRAME_OVERHEAD {
            bytes.truncate(before);
            return Err(Error::MethodTooLarge { size, frame_max });
        }
        Ok(())
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// The connection failed or was closed; channel numbers beyond [`channel_max`](Self::channel_max) are refused by
    /// the broker.
    pub async fn open_channel(&mut self, channel: u16) -> Result<(), Error> {
        self.request(|out| channel::Open::default().encode(channel, out))?;
        self.reply(channel, &[(20, 11)], "channel.open").await?;
        Ok(())
    }

    /// Closes a channel.
    ///
    /// # Errors
    /// The connection failed or was closed.
    pub async fn close_channel(&mut self, channel: u16) -> Result<(), Error> {
        let close = channel::Close {
            reply_code: 200,
            reply_text: b"bye",
            ..Default::default()
        };
        self.request(|out| close.encode(channel, out))?;
        self.reply(channel, &[(20, 41)], "channel.close").await?;
        Ok(())
    }

    /// Switches publisher confirms on.
    ///
    /// # Errors
    /// The channel or connection was closed.
    pub async fn confirm_select(&mut self, channel: u16) -> Result<(), Error> {
        self.request(|out| confirm::Select { no_wait: false }.encode(channel, out))?;
        self.reply(channel, &[(85, 11)], "confirm.select").await?;
        Ok(())
    }

    /// Limits the unacked deliveries of each consumer that is started on the channel from now on; 0 for no limit.
    ///
    /// # Errors
    /// The channel or connection was closed.
    pub async fn qos(&mut self, channel: u16, prefetch_count: u16) -> Result<(), Error> {
        let qos = basic::Qos {
            prefetch_count,
            ..Default::default()
        };
        self.request(|out| qos.encode(channel, out))?;
        self.reply(channel, &[(60, 11)], "basic.qos").await?;
        Ok(())
    }

    /// Declares a queue.
    ///
    /// # Errors
    /// The broker refuses it, which closes the channel; or the connection was closed.
    pub async fn declare_queue(
        &mut self,
        channel: u16,
        name: &str,
        options: QueueOptions,
        arguments: Table<'_>,
    ) -> Result<QueueDeclared, Error> {
        let declare = queue::Declare {
            queue: name.as_bytes(),
            passive: options.passive,
            durable: options.durable,
            exclusive: options.exclusive,
            auto_delete: options.auto_delete,
            no_wait: false,
            arguments,
            ..Default::default()
        };
        self.request(|out| declare.encode(channel, out))?;
        let payload = self.reply(channel, &[(50, 11)], "queue.declare").await?;
        let Method::QueueDeclareOk(declared) = Method::decode(&payload)? else {
            return Err(not_a_reply(channel));
        };
        Ok(QueueDeclared {
            name: crate::incoming::text(declared.queue),
            message_count: declared.message_count,
            consumer_count: declared.consumer_count,
        })
    }

    /// Declares an exchange.
    ///
    /// # Errors
    /// The broker refuses it, which closes the channel; or the connection was closed.
    pub async fn declare_exchange(
        &mut self,
        channel: u16,
        declare: &exchange::Declare<'_>,
    ) -> Result<(), Error> {
        self.request(|out| declare.encode(channel, out))?;
        self.reply(channel, &[(40, 11)], "exchange.declare").await?;
        Ok(())
    }

    /// Deletes an exchange.
    ///
    /// # Errors
    /// The broker refuses it, which closes the channel; or the connection was closed.
    pub async fn delete_exchange(&mut self, channel: u16, name: &str) -> Result<(), Error> {
        let delete = exchange::Delete {
            exchange: name.as_bytes(),
            ..Default::default()
        };
        self.request(|out| delete.encode(channel, out))?;
        self.reply(channel, &[(40, 21)], "exchange.delete").await?;
        Ok(())
    }

    /// Binds a queue to an exchange.
    ///
    /// # Errors
    /// The broker refuses it, which closes the channel; or the connection was closed.
    pub async fn bind_queue(&mut self, channel: u16, bind: &queue::Bind<'_>) -> Result<(), Error> {
        self.request(|out| bind.encode(channel, out))?;
        self.reply(channel, &[(50, 21)], "queue.bind").await?;
        Ok(())
    }

    /// Drops a queue's ready messages; returns how many.
    ///
    /// # Errors
    /// The queue does not exist, which closes the channel; or the connection was closed.
    pub async fn purge_queue(&mut self, channel: u16, name: &str) -> Result<u32, Error> {
        let purge = queue::Purge {
            queue: name.as_bytes(),
            ..Default::default()
        };
        self.request(|out| purge.encode(channel, out))?;
        let payload = self.reply(channel, &[(50, 31)], "queue.purge").await?;
        let Method::QueuePurgeOk(purged) = Method::decode(&payload)? else {
            return Err(not_a_reply(channel));
        };
        Ok(purged.message_count)
    }

    /// Deletes a queue and its messages; returns how many there were. A queue that does not exist is no error.
    ///
    /// # Errors
    /// The broker refuses it, which closes the channel; or the connection was closed.
    pub async fn delete_queue(&mut self, channel: u16, name: &str) -> Result<u32, Error> {
        let delete = queue::Delete {
            queue: name.as_bytes(),
            ..Default::default()
        };
        self.request(|out| delete.encode(channel, out))?;
        let payload = self.reply(channel, &[(50, 41)], "queue.delete").await?;
        let Method::QueueDeleteOk(deleted) = Method::decode(&payload)? else {
            return Err(not_a_reply(channel));
        };
        Ok(deleted.message_count)
    }

    /// Starts a consumer; its messages are events from now on. Returns its tag, given by the broker if
    /// `consumer_tag` is empty.
    ///
    /// # Errors
    /// The broker refuses it, which closes the channel; or the connection was closed.
    pub async fn consume(
        &mut self,
        channel: u16,
        queue: &str,
        consumer_tag: &str,
        options: ConsumeOptions,
        arguments: Table<'_>,
    ) -> Result<String, Error> {
        let consume = basic::Consume {
            queue: queue.as_bytes(),
            consumer_tag: consumer_tag.as_bytes(),
            no_ack: options.no_ack,
            exclusive: options.exclusive,
            arguments,
            ..Default::default()
        };
        self.request(|out| consume.encode(channel, out))?;
        let payload = self.reply(channel, &[(60, 21)], "basic.consume").await?;
        let Method::BasicConsumeOk(consuming) = Method::decode(&payload)? else {
            return Err(not_a_reply(channel));
        };
        Ok(crate::incoming::text(consuming.consumer_tag))
    }

    /// Stops a consumer. Deliveries that were on their way are events still.
    ///
    /// # Errors
    /// The channel or connection was closed.
    pub async fn cancel(&mut self, channel: u16, consumer_tag: &str) -> Result<(), Error> {
        let cancel = basic::Cancel {
            consumer_tag: consumer_tag.as_bytes(),
            no_wait: false,
        };
        self.request(|out| cancel.encode(channel, out))?;
        self.reply(channel, &[(60, 31)], "basic.cancel").await?;
        Ok(())
    }

    /// Takes one message from a queue; `None` if it has none ready.
    ///
    /// # Errors
    /// The broker refuses it, which closes the channel; or the connection was closed.
    pub async fn get(
        &mut self,
        channel: u16,
        queue: &str,
        no_ack: bool,
    ) -> Result<Option<Message>, Error> {
        let during = "basic.get";
        let get = basic::Get {
            queue: queue.as_bytes(),
            no_ack,
            ..Default::default()
        };
        self.request(|out| get.encode(channel, out))?;
        let result = self.got(channel, during).await;
        self.incoming.restore();
        result
    }

    /// The answer to a `basic.get`. Frames that came before it, or within, are aside then.
    async fn got(&mut self, channel: u16, during: &'static str) -> Result<Option<Message>, Error> {
        let expected = [(60, 71), (60, 72)];
        let payload = self
            .reply_before_content(channel, &expected, during)
            .await?;
        let Method::BasicGetOk(got) = Method::decode(&payload)? else {
            return Ok(None);
        };
        let mut content = GetContent::default();
        let limit = self.reply_timeout;
        let waiting = async {
            while !self.incoming.take_content(channel, &mut content)? {
                self.exchange(during).await?;
            }
            Ok(())
        };
        within(limit, during, waiting).await?;
        let (raw_properties, body) = content.into_parts();
        Ok(Some(Message {
            delivery_tag: got.delivery_tag,
            redelivered: got.redelivered,
            exchange: got.exchange.to_vec(),
            routing_key: got.routing_key.to_vec(),
            message_count: got.message_count,
            raw_properties,
            body,
        }))
    }

    /// Publishes one message and sends it. In confirm mode the confirm is an [`Event::Confirmed`].
    ///
    /// # Errors
    /// The socket failed.
    pub async fn publish(
        &mut self,
        channel: u16,
        publish: &basic::Publish<'_>,
        properties: &BasicProperties<'_>,
        body: &[u8],
    ) -> Result<(), Error> {
        self.outgoing.publish(channel, publish, properties, body);
        self.flush().await
    }

    /// Acks one delivery, or with `multiple` it and all before it, and sends that.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn ack(
        &mut self,
        channel: u16,
        delivery_tag: u64,
        multiple: bool,
    ) -> Result<(), Error> {
        self.outgoing.ack(channel, delivery_tag, multiple);
        self.flush().await
    }

    /// Closes the connection in order. Messages that were on their way are dropped.
    ///
    /// # Errors
    /// The broker did not answer; the socket is closed all the same.
    pub async fn close(mut self) -> Result<(), Error> {
        let close = connection::Close {
            reply_code: 200,
            reply_text: b"bye",
            ..Default::default()
        };
        self.request(|out| close.encode(0, out))?;
        match self.reply(0, &[(10, 51)], "connection.close").await {
            // Both sides may close at once.
            Ok(_) | Err(Error::ConnectionClosed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn not_a_reply(channel: u16) -> Error {
    Error::UnexpectedFrame {
        channel,
        found: "method that is not the reply",
    }
}

async fn within<T>(
    limit: Duration,
    during: &'static str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_elapsed) => Err(Error::Timeout { during, limit }),
    }
}
