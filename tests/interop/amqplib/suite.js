// amqplib for Node: the promise API, confirm channels, the callback API and its backpressure.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as later } from 'node:timers/promises';
import amqp from 'amqplib';
import callbackApi from 'amqplib/callback_api';

const URL_OF_BROKER = process.env.AMQP_URL ?? 'amqp://guest:guest@127.0.0.1:5672/';
const CHECK_MS_MAX = 120_000;
const ARRIVAL_MS_MAX = 60_000;
const POLL_MS = 10;

const checks = [];
const check = (name, run) => checks.push({ name, run });

const runId = randomUUID().slice(0, 8);
let counter = 0;
const unique = (stem) => `interop.${stem}.${runId}.${++counter}`;

/** Polls `condition` until it is truthy and resolves to its value. */
async function until(what, condition) {
  const deadline = Date.now() + ARRIVAL_MS_MAX;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert(Date.now() < deadline, `not within ${ARRIVAL_MS_MAX} ms: ${what}`);
    await later(POLL_MS);
  }
}

/** Opens a connection, hands it to `run` and closes it whatever happens. */
async function withConnection(run, suffix = '') {
  const connection = await amqp.connect(URL_OF_BROKER + suffix);
  connection.on('error', () => {});
  try {
    return await run(connection);
  } finally {
    await connection.close().catch(() => {});
  }
}

async function openChannel(connection) {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  return channel;
}

const serverNamed = async (channel, options = {}) =>
  (await channel.assertQueue('', { exclusive: true, ...options })).queue;
const get = (channel, queue, options = { noAck: true }) =>
  until(`a message in ${queue}`, () => channel.get(queue, options));
const bodies = async (channel, queue, count) => {
  const received = [];
  while (received.length < count) received.push((await get(channel, queue)).content.toString());
  return received;
};

check('every exchange type', () =>
  withConnection(async (connection) => {
    const channel = await openChannel(connection);
    for (const [kind, binding, hits, misses] of [
      ['direct', 'k', ['k'], ['other']],
      ['fanout', '', ['k', 'other'], []],
      ['topic', '*.log.#', ['a.log', 'a.log.b.c'], ['log', 'a.b.log']],
    ]) {
      const { exchange } = await channel.assertExchange(unique(kind), kind, { durable: false, autoDelete: true });
      const queue = await serverNamed(channel);
      await channel.bindQueue(queue, exchange, binding);
      for (const key of [...misses, ...hits]) channel.publish(exchange, key, Buffer.from(key));
      assert.deepEqual(await bodies(channel, queue, hits.length), hits, kind);
      assert.equal(await channel.get(queue), false, kind);
      await channel.unbindQueue(queue, exchange, binding);
    }
    const { exchange } = await channel.assertExchange(unique('headers'), 'headers', { autoDelete: true });
    const queue = await serverNamed(channel);
    await channel.bindQueue(queue, exchange, '', { 'x-match': 'all', a: 1, b: 'two' });
    channel.publish(exchange, '', Buffer.from('no'), { headers: { a: 1 } });
    channel.publish(exchange, '', Buffer.from('yes'), { headers: { a: 1, b: 'two' } });
    assert.deepEqual(await bodies(channel, queue, 1), ['yes']);
  }));

check('exchange to exchange and alternate exchange', () =>
  withConnection(async (connection) => {
    const channel = await openChannel(connection);
    const { exchange: caught } = await channel.assertExchange(unique('unrouted'), 'fanout', { autoDelete: true });
    const { exchange: source } = await channel.assertExchange(unique('source'), 'direct', {
      alternateExchange: caught,
    });
    const { exchange: destination } = await channel.assertExchange(unique('destination'), 'fanout', {
      autoDelete: true,
    });
    await channel.bindExchange(destination, source, 'k');
    const [routed, unrouted] = [await serverNamed(channel), await serverNamed(channel)];
    await channel.bindQueue(routed, destination, '');
    await channel.bindQueue(unrouted, caught, '');
    channel.publish(source, 'k', Buffer.from('routed'));
    channel.publish(source, 'nobody', Buffer.from('unrouted'));
    assert.deepEqual(await bodies(channel, routed, 1), ['routed']);
    assert.deepEqual(await bodies(channel, unrouted, 1), ['unrouted']);
    await channel.unbindExchange(destination, source, 'k');
    await channel.deleteExchange(source);
  }));

check('confirm channel: waitForConfirms, callbacks and a nack', () =>
  withConnection(async (connection) => {
    const channel = await connection.createConfirmChannel();
    const queue = await serverNamed(channel, { arguments: { 'x-max-length': 100, 'x-overflow': 'reject-publish' } });
    for (let number = 0; number < 100; number++) channel.sendToQueue(queue, Buffer.from('x'), { persistent: true });
    await channel.waitForConfirms();
    assert.equal((await channel.checkQueue(queue)).messageCount, 100);
    const outcome = await new Promise((resolve) => {
      channel.sendToQueue(queue, Buffer.from('too many'), {}, (error) => resolve(error));
    });
    assert(outcome instanceof Error, 'the 101st is nacked');
    assert.equal((await channel.purgeQueue(queue)).messageCount, 100);
  }));

check('mandatory message comes back before its confirm', () =>
  withConnection(async (connection) => {
    const channel = await connection.createConfirmChannel();
    const returned = [];
    channel.on('return', (message) => returned.push(message));
    const key = unique('nowhere');
    channel.publish('', key, Buffer.from('comes back'), { mandatory: true, messageId: 'm' });
    await channel.waitForConfirms();
    assert.equal(returned.length, 1);
    const [{ fields, properties, content }] = returned;
    assert.deepEqual([fields.replyCode, fields.replyText, fields.routingKey], [312, 'NO_ROUTE', key]);
    assert.deepEqual([properties.messageId, content.toString()], ['m', 'comes back']);
  }));

check('ack, nack, reject, redelivered', () =>
  withConnection(async (connection) => {
    const channel = await openChannel(connection);
    const queue = await serverNamed(channel);
    for (const body of ['acked', 'nacked', 'rejected', 'dropped']) channel.sendToQueue(queue, Buffer.from(body));
    const seen = [];
    await channel.consume(queue, (message) => {
      const body = message.content.toString();
      seen.push(`${body} ${message.fields.redelivered}`);
      if (message.fields.redelivered || body === 'acked') channel.ack(message);
      else if (body === 'nacked') channel.nack(message, false, true);
      else channel.reject(message, body === 'rejected');
    });
    await until('six deliveries', () => seen.length === 6);
    assert.deepEqual(seen.sort(), [
      'acked false',
      'dropped false',
      'nacked false',
      'nacked true',
      'rejected false',
      'rejected true',
    ]);
  }));

check('prefetch, ackAll, nackAll, recover', () =>
  withConnection(async (connection) => {
    const channel = await openChannel(connection);
    const queue = await serverNamed(channel);
    for (let number = 0; number < 6; number++) channel.sendToQueue(queue, Buffer.from(String(number)));
    await channel.prefetch(2);
    const seen = [];
    const { consumerTag } = await channel.consume(queue, (message) => message && seen.push(message));
    await until('two deliveries', () => seen.length === 2);
    await until('four ready', async () => (await channel.checkQueue(queue)).messageCount === 4);
    assert.equal(seen.length, 2, 'deliveries before an ack');
    channel.ackAll();
    await until('two more', () => seen.length === 4);
    await channel.cancel(consumerTag);
    channel.nackAll(true);
    const first = await get(channel, queue, { noAck: false });
    assert.deepEqual([first.content.toString(), first.fields.redelivered, first.fields.messageCount], ['2', true, 3]);
    await channel.recover();
    assert.equal((await get(channel, queue)).fields.redelivered, true);
  }));

check('exclusive, auto-delete and server-named queues', () =>
  withConnection((connection) =>
    withConnection(async (other) => {
      const channel = await openChannel(connection);
      const queue = await serverNamed(channel);
      assert.match(queue, /^amq\.gen-/);
      await assert.rejects((await openChannel(other)).checkQueue(queue), /405.*RESOURCE_LOCKED/);
      const { queue: shared } = await channel.assertQueue('', { autoDelete: true, durable: false });
      const { consumerTag } = await channel.consume(shared, () => {});
      await channel.cancel(consumerTag);
      await until('auto-delete queue gone', async () => {
        try {
          await (await openChannel(other)).checkQueue(shared);
          return false;
        } catch (error) {
          return error.code === 404;
        }
      });
    }),
  ));

check('server cancel arrives as null', () =>
  withConnection(async (connection) => {
    const channel = await openChannel(connection);
    const queue = await serverNamed(channel);
    const cancelled = new Promise((resolve) => channel.consume(queue, (message) => message === null && resolve()));
    await channel.checkQueue(queue);
    await (await openChannel(connection)).deleteQueue(queue);
    await cancelled;
  }));

check('properties and headers round trip', () =>
  withConnection(async (connection) => {
    const channel = await openChannel(connection);
    const queue = await serverNamed(channel);
    const headers = {
      yes: true,
      no: false,
      byte: 5,
      negative: -5,
      short: 300,
      int: 70_000,
      long: 2 ** 40,
      double: 2.5,
      explicit: { '!': 'float', value: 0.5 },
      text: 'žluťoučký',
      none: null,
      buffer: Buffer.from([0, 255]),
      array: [1, 'a', true, null, { deep: [2] }],
      table: { inner: { deeper: 'x' } },
      time: { '!': 'timestamp', value: 1_700_000_000 },
      decimal: { '!': 'decimal', value: { digits: 314, places: 2 } },
    };
    const sent = {
      contentType: 'text/plain',
      contentEncoding: 'utf-8',
      deliveryMode: 2,
      priority: 4,
      correlationId: 'c',
      replyTo: 'r',
      expiration: '60000',
      messageId: 'm',
      timestamp: 1_700_000_000,
      type: 't',
      userId: 'guest',
      appId: 'a',
    };
    channel.sendToQueue(queue, Buffer.from(''), { ...sent, headers });
    const { properties, content } = await get(channel, queue);
    assert.equal(content.length, 0);
    for (const [name, value] of Object.entries(sent)) assert.equal(properties[name], value, name);
    const plain = { ...headers, explicit: 0.5 };
    for (const [name, value] of Object.entries(plain)) assert.deepEqual(properties.headers[name], value, name);
  }));

check('large message and many small ones under backpressure', () =>
  withConnection(async (connection) => {
    const channel = await openChannel(connection);
    const queue = await serverNamed(channel);
    const large = Buffer.alloc(3 * 1024 * 1024 + 17, 'large');
    channel.sendToQueue(queue, large);
    assert((await get(channel, queue)).content.equals(large));
    let received = 0;
    await channel.consume(queue, () => received++, { noAck: true });
    for (let number = 0; number < 5000; number++) {
      if (!channel.sendToQueue(queue, Buffer.alloc(512))) await new Promise((resolve) => channel.once('drain', resolve));
    }
    await until('5000 deliveries', () => received === 5000);
  }));

check('channel exception leaves the connection usable', () =>
  withConnection(async (connection) => {
    const name = unique('missing');
    await assert.rejects((await openChannel(connection)).checkQueue(name), {
      code: 404,
      message: new RegExp(`NOT_FOUND - no queue '${name}' in vhost '/'`),
    });
    const channel = await openChannel(connection);
    const queue = await serverNamed(channel);
    const failed = new Promise((resolve) => channel.on('error', resolve));
    channel.ack({ fields: { deliveryTag: 99 } });
    assert.match((await failed).message, /406.*unknown delivery tag 99/);
    await (await openChannel(connection)).checkQueue(queue);
  }));

check('refused login and unknown vhost', async () => {
  const wrong = new URL(URL_OF_BROKER);
  wrong.password = 'wrong';
  await assert.rejects(amqp.connect(wrong.href), /403|ACCESS_REFUSED/);
  const nowhere = new URL(URL_OF_BROKER);
  nowhere.pathname = '/no-such-vhost';
  await assert.rejects(amqp.connect(nowhere.href), /ConnectionClose/);
});

check('close, reconnect, durable queue still there', async () => {
  const queue = unique('durable');
  await withConnection(async (connection) => {
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue(queue, { durable: true });
    channel.sendToQueue(queue, Buffer.from('waits'), { persistent: true });
    await channel.waitForConfirms();
  });
  await withConnection(async (connection) => {
    const channel = await openChannel(connection);
    assert.deepEqual(await bodies(channel, queue, 1), ['waits']);
    await channel.deleteQueue(queue);
  });
});

check('heartbeat keeps an idle connection', () =>
  withConnection(async (connection) => {
    const channel = await openChannel(connection);
    const target = await serverNamed(channel);
    const delay = await serverNamed(channel, { deadLetterExchange: '', deadLetterRoutingKey: target });
    const delivery = new Promise((resolve) => channel.consume(target, resolve, { noAck: true }));
    channel.sendToQueue(delay, Buffer.from('after the silence'), { expiration: 7000 });
    assert.equal((await delivery).content.toString(), 'after the silence');
  }, '?heartbeat=2'));

check('blocked and unblocked listeners register', () =>
  withConnection(async (connection) => {
    connection.on('blocked', () => {});
    connection.on('unblocked', () => {});
    const { product, capabilities } = connection.connection.serverProperties;
    assert.equal(product, 'RabbitMQ');
    assert.equal(capabilities['connection.blocked'], true);
  }));

check('direct reply-to', () =>
  withConnection(async (connection) => {
    const [client, server] = [await openChannel(connection), await openChannel(connection)];
    const queue = await serverNamed(server);
    await server.consume(
      queue,
      ({ content, properties }) =>
        server.sendToQueue(properties.replyTo, Buffer.from(content).reverse(), {
          correlationId: properties.correlationId,
        }),
      { noAck: true },
    );
    const reply = new Promise((resolve) => client.consume('amq.rabbitmq.reply-to', resolve, { noAck: true }));
    await client.checkQueue(queue);
    client.sendToQueue(queue, Buffer.from('abc'), { replyTo: 'amq.rabbitmq.reply-to', correlationId: '42' });
    const { content, properties } = await reply;
    assert.deepEqual([content.toString(), properties.correlationId], ['cba', '42']);
  }));

check('callback API', () =>
  new Promise((resolve, reject) => {
    const fail = (connection) => (error) => (connection ? connection.close(() => reject(error)) : reject(error));
    callbackApi.connect(URL_OF_BROKER, (connectError, connection) => {
      if (connectError) return fail()(connectError);
      connection.createChannel((channelError, channel) => {
        if (channelError) return fail(connection)(channelError);
        const queue = unique('tasks');
        channel.assertQueue(queue, { durable: false, autoDelete: true });
        channel.consume(queue, (message) => {
          channel.ack(message);
          connection.close((error) => (error ? reject(error) : resolve()));
        });
        channel.sendToQueue(queue, Buffer.from('something to do'));
      });
    });
  }));

const failed = [];
for (const { name, run } of checks) {
  const started = Date.now();
  const watchdog = setTimeout(() => {
    console.log(`FAIL ${name}: did not end within ${CHECK_MS_MAX} ms`);
    process.exit(1);
  }, CHECK_MS_MAX);
  try {
    await run();
    console.log(`ok   ${name} (${Date.now() - started} ms)`);
  } catch (error) {
    failed.push(name);
    console.log(`FAIL ${name}: ${error.stack ?? error}`);
  } finally {
    clearTimeout(watchdog);
  }
}
if (failed.length > 0) console.log(`${failed.length} failed: ${failed.join(', ')}`);
process.exit(failed.length > 0 ? 1 : 0);
