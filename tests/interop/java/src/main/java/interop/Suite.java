package interop;

import static interop.Harness.equal;
import static interop.Harness.isTrue;
import static interop.Harness.until;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import com.rabbitmq.client.Return;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcClientParams;
import com.rabbitmq.client.RpcServer;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The Java client: channels, confirms, returns, recovery, RPC classes. */
public final class Suite {
  private static final Harness HARNESS = new Harness();
  private static final String AMQP_URL =
      System.getenv().getOrDefault("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/");

  interface OnConnection {
    void run(Connection connection, Channel channel) throws Exception;
  }

  private static ConnectionFactory factory() throws Exception {
    ConnectionFactory factory = new ConnectionFactory();
    // The Java client reads a path of "/" as an empty vhost name; other clients read it as the default vhost.
    factory.setUri(AMQP_URL.endsWith("/") ? AMQP_URL.substring(0, AMQP_URL.length() - 1) : AMQP_URL);
    factory.setAutomaticRecoveryEnabled(false);
    return factory;
  }

  private static void connected(OnConnection body) throws Exception {
    connected(factory(), body);
  }

  private static void connected(ConnectionFactory factory, OnConnection body) throws Exception {
    try (Connection connection = factory.newConnection("interop-java")) {
      body.run(connection, connection.createChannel());
    }
  }

  private static void check(String name, OnConnection body) {
    HARNESS.check(name, () -> connected(body));
  }

  private static String serverNamed(Channel channel) throws IOException {
    return channel.queueDeclare().getQueue();
  }

  private static String temporary(Channel channel, Map<String, Object> arguments) throws IOException {
    return channel.queueDeclare("", false, true, false, arguments).getQueue();
  }

  private static GetResponse get(Channel channel, String queue, boolean autoAck) throws Exception {
    return until("a message in " + queue, () -> channel.basicGet(queue, autoAck));
  }

  private static String body(Channel channel, String queue) throws Exception {
    return text(get(channel, queue, true).getBody());
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static <T> T take(BlockingQueue<T> from, String what) throws InterruptedException {
    T value = from.poll(Harness.ARRIVAL_SECONDS_MAX, TimeUnit.SECONDS);
    isTrue(value != null, "nothing arrived: " + what);
    return value;
  }

  private static AMQP.Channel.Close channelClose(IOException error) {
    return (AMQP.Channel.Close) ((ShutdownSignalException) error.getCause()).getReason();
  }

  private interface Refused {
    void run() throws Exception;
  }

  private static AMQP.Channel.Close refused(Refused body) throws Exception {
    try {
      body.run();
    } catch (IOException e) {
      return channelClose(e);
    }
    throw new AssertionError("expected a channel exception");
  }

  public static void main(String[] arguments) {
    exchanges();
    publishing();
    consuming();
    queues();
    messages();
    failures();
    connections();
    rpc();
    System.exit(HARNESS.run() == 0 ? 0 : 1);
  }

  private static void exchanges() {
    check("direct, fanout and topic exchanges", (connection, channel) -> {
      record Case(BuiltinExchangeType type, String binding, List<String> hits, List<String> misses) {}
      for (Case one : List.of(
          new Case(BuiltinExchangeType.DIRECT, "k", List.of("k"), List.of("other")),
          new Case(BuiltinExchangeType.FANOUT, "", List.of("k", "other"), List.of()),
          new Case(BuiltinExchangeType.TOPIC, "*.log.#", List.of("a.log", "a.log.b.c"), List.of("log", "a.b.log")))) {
        String exchange = HARNESS.unique(one.type.getType());
        channel.exchangeDeclare(exchange, one.type, false, true, null);
        String queue = serverNamed(channel);
        channel.queueBind(queue, exchange, one.binding);
        for (String key : one.misses) {
          channel.basicPublish(exchange, key, null, bytes(key));
        }
        for (String key : one.hits) {
          channel.basicPublish(exchange, key, null, bytes(key));
        }
        for (String key : one.hits) {
          equal(body(channel, queue), key, exchange);
        }
        equal(channel.basicGet(queue, true), null, exchange);
        channel.queueUnbind(queue, exchange, one.binding);
      }
    });

    check("headers exchange", (connection, channel) -> {
      String exchange = HARNESS.unique("headers");
      channel.exchangeDeclare(exchange, BuiltinExchangeType.HEADERS, false, true, null);
      String all = serverNamed(channel);
      String any = serverNamed(channel);
      channel.queueBind(all, exchange, "", Map.of("x-match", "all", "a", 1, "b", "two"));
      channel.queueBind(any, exchange, "", Map.of("x-match", "any", "a", 1, "b", "two"));
      for (Map<String, Object> headers : List.of(
          Map.<String, Object>of("a", 1, "b", "two"), Map.<String, Object>of("a", 1), Map.<String, Object>of("a", 2))) {
        channel.basicPublish(
            exchange, "", new AMQP.BasicProperties.Builder().headers(headers).build(), bytes("" + headers.size()));
      }
      equal(body(channel, all), "2", "all");
      equal(channel.basicGet(all, true), null, "all, rest");
      equal(body(channel, any), "2", "any");
      equal(body(channel, any), "1", "any");
      equal(channel.basicGet(any, true), null, "any, rest");
    });

    check("exchange to exchange", (connection, channel) -> {
      String source = HARNESS.unique("source");
      String destination = HARNESS.unique("destination");
      channel.exchangeDeclare(source, "direct", false, true, null);
      channel.exchangeDeclare(destination, "fanout", false, true, null);
      channel.exchangeBind(destination, source, "k");
      String queue = serverNamed(channel);
      channel.queueBind(queue, destination, "");
      channel.basicPublish(source, "k", null, bytes("through two"));
      equal(body(channel, queue), "through two", "body");
      channel.exchangeUnbind(destination, source, "k");
    });
  }

  private static void publishing() {
    check("confirms, one by one and by listener", (connection, channel) -> {
      String queue = HARNESS.unique("confirmed");
      channel.queueDeclare(queue, true, false, false, null);
      channel.confirmSelect();
      for (int number = 0; number < 50; number++) {
        channel.basicPublish("", queue, MessageProperties.PERSISTENT_TEXT_PLAIN, bytes("x"));
      }
      channel.waitForConfirmsOrDie(60_000);
      TreeSet<Long> outstanding = new TreeSet<>();
      CountDownLatch done = new CountDownLatch(1);
      synchronized (outstanding) {
        channel.addConfirmListener(
            (tag, multiple) -> {
              synchronized (outstanding) {
                if (multiple) {
                  outstanding.headSet(tag, true).clear();
                } else {
                  outstanding.remove(tag);
                }
                if (outstanding.isEmpty()) {
                  done.countDown();
                }
              }
            },
            (tag, multiple) -> {});
        for (int number = 0; number < 500; number++) {
          outstanding.add(channel.getNextPublishSeqNo());
          channel.basicPublish("", queue, null, bytes("x"));
        }
      }
      isTrue(done.await(Harness.ARRIVAL_SECONDS_MAX, TimeUnit.SECONDS), "all 500 confirmed");
      equal(channel.queuePurge(queue).getMessageCount(), 550, "purged");
      equal(channel.queueDelete(queue).getMessageCount(), 0, "deleted");
    });

    check("reject-publish is a nack", (connection, channel) -> {
      String queue = temporary(channel, Map.of("x-max-length", 1, "x-overflow", "reject-publish"));
      channel.confirmSelect();
      channel.basicPublish("", queue, null, bytes("fits"));
      isTrue(channel.waitForConfirms(60_000), "the first is confirmed");
      channel.basicPublish("", queue, null, bytes("does not"));
      isTrue(!channel.waitForConfirms(60_000), "the second is refused");
    });

    check("mandatory message comes back", (connection, channel) -> {
      BlockingQueue<Return> returned = new LinkedBlockingQueue<>();
      channel.addReturnListener(returned::add);
      String key = HARNESS.unique("nowhere");
      channel.basicPublish(
          "", key, true, new AMQP.BasicProperties.Builder().messageId("m").build(), bytes("comes back"));
      Return message = take(returned, "return");
      equal(message.getReplyCode(), 312, "code");
      equal(message.getReplyText(), "NO_ROUTE", "text");
      equal(message.getRoutingKey(), key, "key");
      equal(message.getProperties().getMessageId(), "m", "message id");
      equal(text(message.getBody()), "comes back", "body");
    });

    check("transactions", (connection, channel) -> {
      String queue = serverNamed(channel);
      channel.txSelect();
      channel.basicPublish("", queue, null, bytes("rolled back"));
      channel.txRollback();
      channel.basicPublish("", queue, null, bytes("committed"));
      equal(channel.messageCount(queue), 0L, "before commit");
      channel.txCommit();
      GetResponse message = get(channel, queue, false);
      equal(text(message.getBody()), "committed", "body");
      channel.basicAck(message.getEnvelope().getDeliveryTag(), false);
      channel.txRollback();
      channel.basicAck(message.getEnvelope().getDeliveryTag(), false);
      channel.txCommit();
      channel.close();
      equal(connection.createChannel().basicGet(queue, true), null, "acked in the transaction");
    });
  }

  private static void consuming() {
    check("ack, nack, reject, redelivered", (connection, channel) -> {
      String queue = serverNamed(channel);
      for (String body : List.of("acked", "nacked", "rejected", "dropped")) {
        channel.basicPublish("", queue, null, bytes(body));
      }
      List<String> seen = Collections.synchronizedList(new ArrayList<>());
      channel.basicConsume(queue, false, (tag, delivery) -> {
        String body = text(delivery.getBody());
        boolean redelivered = delivery.getEnvelope().isRedeliver();
        long deliveryTag = delivery.getEnvelope().getDeliveryTag();
        if (redelivered || body.equals("acked")) {
          channel.basicAck(deliveryTag, false);
        } else if (body.equals("nacked")) {
          channel.basicNack(deliveryTag, false, true);
        } else {
          channel.basicReject(deliveryTag, body.equals("rejected"));
        }
        seen.add(body + " " + redelivered);
      }, tag -> {});
      until("six deliveries", () -> seen.size() == 6);
      List<String> sorted = new ArrayList<>(seen);
      Collections.sort(sorted);
      equal(sorted, List.of("acked false", "dropped false", "nacked false", "nacked true", "rejected false",
          "rejected true"), "deliveries");
      until("nothing left", () -> channel.messageCount(queue) == 0);
    });

    check("prefetch and multiple ack", (connection, channel) -> {
      String queue = serverNamed(channel);
      for (int number = 0; number < 10; number++) {
        channel.basicPublish("", queue, null, bytes("" + number));
      }
      channel.basicQos(3);
      BlockingQueue<Delivery> seen = new LinkedBlockingQueue<>();
      channel.basicConsume(queue, false, (tag, delivery) -> seen.add(delivery), tag -> {});
      take(seen, "first");
      take(seen, "second");
      long third = take(seen, "third").getEnvelope().getDeliveryTag();
      until("seven ready", () -> channel.messageCount(queue) == 7);
      isTrue(seen.isEmpty(), "no fourth before an ack");
      channel.basicAck(third, true);
      for (int number = 3; number < 6; number++) {
        equal(text(take(seen, "next").getBody()), "" + number, "order");
      }
    });

    check("recover and get", (connection, channel) -> {
      String queue = serverNamed(channel);
      channel.basicPublish("", queue, null, bytes("a"));
      channel.basicPublish("", queue, null, bytes("b"));
      equal(get(channel, queue, false).getMessageCount(), 1, "remaining");
      channel.basicRecover(true);
      GetResponse again = get(channel, queue, false);
      equal(text(again.getBody()), "a", "back at its place");
      isTrue(again.getEnvelope().isRedeliver(), "redelivered");
      channel.close();
      Channel next = connection.createChannel();
      isTrue(get(next, queue, true).getEnvelope().isRedeliver(), "requeued by close");
    });

    check("server cancel", (connection, channel) -> {
      String queue = serverNamed(channel);
      BlockingQueue<String> cancelled = new LinkedBlockingQueue<>();
      String tag = channel.basicConsume(queue, true, (t, delivery) -> {}, cancelled::add);
      connection.createChannel().queueDelete(queue);
      equal(take(cancelled, "cancel"), tag, "tag");
    });

    check("consumer priorities", (connection, channel) -> {
      String queue = serverNamed(channel);
      BlockingQueue<String> seen = new LinkedBlockingQueue<>();
      channel.basicConsume(queue, true, Map.of("x-priority", 1), (t, delivery) -> seen.add("low"), t -> {});
      channel.basicConsume(queue, true, Map.of("x-priority", 10), (t, delivery) -> seen.add("high"), t -> {});
      channel.basicPublish("", queue, null, bytes("x"));
      channel.basicPublish("", queue, null, bytes("x"));
      equal(take(seen, "first"), "high", "first");
      equal(take(seen, "second"), "high", "second");
    });
  }

  private static void queues() {
    check("exclusive, auto-delete and server-named queues", (connection, channel) -> {
      String queue = serverNamed(channel);
      isTrue(queue.startsWith("amq.gen-"), queue);
      connected((other, otherChannel) ->
          equal(refused(() -> otherChannel.queueDeclarePassive(queue)).getReplyCode(), 405, "exclusive"));
      String shared = channel.queueDeclare("", false, false, true, null).getQueue();
      channel.basicCancel(channel.basicConsume(shared, true, (t, d) -> {}, t -> {}));
      until("auto-delete queue gone", () -> {
        try (Channel probe = connection.createChannel()) {
          probe.queueDeclarePassive(shared);
          return false;
        } catch (IOException e) {
          return channelClose(e).getReplyCode() == 404;
        }
      });
    });

    check("dead letters carry x-death", (connection, channel) -> {
      String target = serverNamed(channel);
      String source = temporary(channel,
          Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", target, "x-message-ttl", 50));
      channel.basicPublish("", source, null, bytes("late"));
      GetResponse message = get(channel, target, true);
      Map<?, ?> death = (Map<?, ?>) ((List<?>) message.getProps().getHeaders().get("x-death")).get(0);
      equal(death.get("reason").toString(), "expired", "reason");
      equal(death.get("queue").toString(), source, "queue");
      equal(death.get("count"), 1L, "count");
    });
  }

  private static void messages() {
    check("properties and headers round trip", (connection, channel) -> {
      Date time = new Date(1_700_000_000_000L);
      Map<String, Object> nested = Map.of("inner", Map.of("deeper", 1));
      Map<String, Object> headers = new HashMap<>();
      headers.put("boolean", true);
      headers.put("byte", (byte) -5);
      headers.put("short", (short) -300);
      headers.put("int", 70_000);
      headers.put("long", 1L << 40);
      headers.put("float", 0.5f);
      headers.put("double", 2.5);
      headers.put("decimal", new BigDecimal("3.14"));
      headers.put("time", time);
      headers.put("null", null);
      headers.put("table", nested);
      headers.put("array", List.of(1, true, 2.5));
      headers.put("bytes", new byte[] {0, -1});
      AMQP.BasicProperties sent = new AMQP.BasicProperties.Builder()
          .headers(headers).contentType("text/plain").contentEncoding("utf-8").deliveryMode(2).priority(4)
          .correlationId("c").replyTo("r").expiration("60000").messageId("m").timestamp(time).type("t")
          .userId("guest").appId("a").clusterId("cl").build();
      String queue = serverNamed(channel);
      Map<String, Object> withText = new HashMap<>(headers);
      withText.put("text", "žluťoučký");
      channel.basicPublish("", queue, sent.builder().headers(withText).build(), new byte[0]);
      AMQP.BasicProperties got = get(channel, queue, true).getProps();
      equal(((LongString) got.getHeaders().remove("text")).toString(), "žluťoučký", "text");
      for (Map.Entry<String, Object> header : headers.entrySet()) {
        equal(got.getHeaders().get(header.getKey()), header.getValue(), header.getKey());
      }
      equal(got.builder().headers(null).build(), sent.builder().headers(null).build(), "properties");
    });

    check("large message", (connection, channel) -> {
      byte[] body = new byte[5 * 1024 * 1024 + 3];
      for (int index = 0; index < body.length; index++) {
        body[index] = (byte) (index * 31);
      }
      String queue = serverNamed(channel);
      channel.basicPublish("", queue, null, body);
      equal(get(channel, queue, true).getBody(), body, "5 MiB body");
    });
  }

  private static void failures() {
    check("channel exception, then a new channel", (connection, channel) -> {
      String missing = HARNESS.unique("missing");
      AMQP.Channel.Close close = refused(() -> channel.queueDeclarePassive(missing));
      equal(close.getReplyCode(), 404, "code");
      equal(close.getReplyText(), "NOT_FOUND - no queue '" + missing + "' in vhost '/'", "text");
      equal(close.getClassId() * 100 + close.getMethodId(), 5010, "queue.declare");
      isTrue(!channel.isOpen() && connection.isOpen(), "only the channel is closed");
      Channel next = connection.createChannel();
      String exchange = HARNESS.unique("exchange");
      next.exchangeDeclare(exchange, "direct", false, false, null);
      equal(refused(() -> next.exchangeDeclare(exchange, "fanout", false, false, null)).getReplyCode(), 406, "type");
      connection.createChannel().exchangeDelete(exchange);
    });

    check("asynchronous channel exception", (connection, channel) -> {
      BlockingQueue<ShutdownSignalException> shut = new ArrayBlockingQueue<>(1);
      channel.addShutdownListener(shut::add);
      channel.basicPublish(HARNESS.unique("no-exchange"), "k", null, bytes("x"));
      AMQP.Channel.Close close = (AMQP.Channel.Close) take(shut, "shutdown").getReason();
      equal(close.getReplyCode(), 404, "code");
    });

    HARNESS.check("refused login", () -> {
      ConnectionFactory wrong = factory();
      wrong.setPassword("wrong");
      try {
        wrong.newConnection().close();
        throw new AssertionError("expected a refusal");
      } catch (AuthenticationFailureException e) {
        isTrue(e.getMessage().startsWith("ACCESS_REFUSED - Login was refused"), e.getMessage());
      }
    });

    HARNESS.check("unknown vhost", () -> {
      ConnectionFactory nowhere = factory();
      nowhere.setVirtualHost("no-such-vhost");
      try {
        nowhere.newConnection().close();
        throw new AssertionError("expected a refusal");
      } catch (IOException e) {
        String message = String.valueOf(e.getCause());
        isTrue(message.contains("530") && message.contains("vhost no-such-vhost not found"), message);
      }
    });
  }

  private static void connections() {
    check("server properties and blocked listeners", (connection, channel) -> {
      connection.addBlockedListener(reason -> {}, () -> {});
      equal(connection.getServerProperties().get("product").toString(), "RabbitMQ", "product");
      Map<?, ?> capabilities = (Map<?, ?>) connection.getServerProperties().get("capabilities");
      for (String name : List.of("connection.blocked", "publisher_confirms", "basic.nack", "consumer_priorities")) {
        equal(capabilities.get(name), true, name);
      }
    });

    HARNESS.check("close and reconnect", () -> {
      String queue = HARNESS.unique("durable");
      connected((connection, channel) -> {
        channel.queueDeclare(queue, true, false, false, null);
        channel.confirmSelect();
        channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, bytes("waits"));
        channel.waitForConfirmsOrDie(60_000);
      });
      connected((connection, channel) -> {
        equal(body(channel, queue), "waits", "body");
        channel.queueDelete(queue);
      });
    });

    HARNESS.check("heartbeat keeps an idle connection", () -> {
      ConnectionFactory factory = factory();
      factory.setRequestedHeartbeat(2);
      connected(factory, (connection, channel) -> {
        equal(connection.getHeartbeat(), 2, "negotiated");
        String target = serverNamed(channel);
        String delay = temporary(channel, Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", target));
        BlockingQueue<Delivery> seen = new LinkedBlockingQueue<>();
        channel.basicConsume(target, true, (tag, delivery) -> seen.add(delivery), tag -> {});
        channel.basicPublish(
            "", delay, new AMQP.BasicProperties.Builder().expiration("7000").build(), bytes("after the silence"));
        equal(text(take(seen, "delayed").getBody()), "after the silence", "body");
      });
    });

    HARNESS.check("topology recovery after a lost connection", () -> {
      ConnectionFactory factory = factory();
      factory.setAutomaticRecoveryEnabled(true);
      // What goes with the old connection has to be gone before it is declared again.
      factory.setNetworkRecoveryInterval(2_000);
      factory.setRequestedHeartbeat(5);
      List<java.net.Socket> sockets = Collections.synchronizedList(new ArrayList<>());
      factory.setSocketConfigurator(sockets::add);
      connected(factory, (connection, channel) -> {
        CountDownLatch recovered = new CountDownLatch(1);
        ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
          @Override
          public void handleRecovery(Recoverable recoverable) {
            recovered.countDown();
          }

          @Override
          public void handleRecoveryStarted(Recoverable recoverable) {}
        });
        String exchange = HARNESS.unique("recovered");
        channel.exchangeDeclare(exchange, "fanout", false, true, null);
        String queue = serverNamed(channel);
        channel.queueBind(queue, exchange, "");
        BlockingQueue<Delivery> seen = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, true, (tag, delivery) -> seen.add(delivery), tag -> {});
        sockets.get(0).close();
        isTrue(recovered.await(Harness.ARRIVAL_SECONDS_MAX, TimeUnit.SECONDS), "recovered");
        channel.basicPublish(exchange, "", null, bytes("after"));
        equal(text(take(seen, "delivery").getBody()), "after", "body");
      });
    });

    check("many channels, published to from several threads", (connection, channel) -> {
      String queue = serverNamed(channel);
      List<Thread> threads = new ArrayList<>();
      for (int thread = 0; thread < 8; thread++) {
        threads.add(new Thread(() -> {
          try (Channel own = connection.createChannel()) {
            own.confirmSelect();
            for (int number = 0; number < 100; number++) {
              own.basicPublish("", queue, null, bytes("x"));
            }
            own.waitForConfirmsOrDie(60_000);
          } catch (Exception e) {
            throw new IllegalStateException(e);
          }
        }));
      }
      threads.forEach(Thread::start);
      for (Thread thread : threads) {
        thread.join();
      }
      equal(channel.messageCount(queue), 800L, "ready");
    });
  }

  private static void rpc() {
    check("RpcServer and RpcClient over direct reply-to", (connection, channel) -> {
      String queue = serverNamed(channel);
      RpcServer server = new RpcServer(channel, queue) {
        @Override
        public byte[] handleCall(byte[] request, AMQP.BasicProperties properties) {
          return new StringBuilder(text(request)).reverse().toString().getBytes(StandardCharsets.UTF_8);
        }
      };
      Thread thread = new Thread(() -> {
        try {
          server.mainloop();
        } catch (ShutdownSignalException | IOException ended) {
          // The loop ends this way when its channel closes.
        }
      });
      thread.setDaemon(true);
      thread.start();
      Channel own = connection.createChannel();
      RpcClient client = new RpcClient(new RpcClientParams().channel(own).exchange("").routingKey(queue).timeout(60_000));
      for (int number = 0; number < 50; number++) {
        equal(client.stringCall("abc" + number), new StringBuilder("abc" + number).reverse().toString(), "reply");
      }
      client.close();
      server.terminateMainloop();
    });
  }
}
