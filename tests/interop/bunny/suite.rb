# frozen_string_literal: true

# Bunny for Ruby: one connection a check, closed whatever happens.

require "bunny"
require "securerandom"
require "timeout"

AMQP_URL = ENV.fetch("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")
CHECK_SECONDS_MAX = 120
ARRIVAL_SECONDS_MAX = 60
POLL_SECONDS = 0.01
RUN_ID = SecureRandom.hex(4)

CHECKS = []
Failure = Class.new(StandardError)

def check(name, **options, &body)
  CHECKS << [name, options, body]
end

def unique(stem)
  @counter = (@counter || 0) + 1
  "interop.#{stem}.#{RUN_ID}.#{@counter}"
end

def connect(**options)
  # A path of "/" reads as an empty vhost name here; other clients read it as the default vhost.
  Bunny.new(AMQP_URL.chomp("/"), log_level: :fatal, **options).start
end

def connected(**options)
  connection = connect(**options)
  yield connection
ensure
  connection&.close if connection&.open?
end

def until_true(what)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + ARRIVAL_SECONDS_MAX
  loop do
    value = yield
    return value if value
    raise Failure, "not within #{ARRIVAL_SECONDS_MAX} s: #{what}" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

    sleep POLL_SECONDS
  end
end

def equal(actual, expected, what = "value")
  raise Failure, "#{what}: expected #{expected.inspect}, got #{actual.inspect}" unless actual == expected
end

def raises(kind)
  yield
rescue kind => e
  e
else
  raise Failure, "expected #{kind}"
end

def temporary(channel, **options)
  channel.queue("", exclusive: true, **options)
end

# Polls basic.get: delivery info, properties and body of the message.
def get(queue, **options)
  until_true("a message in #{queue.name}") do
    message = queue.pop(**options)
    message if message.first
  end
end

def bodies(queue, count)
  Array.new(count) { get(queue)[2] }
end

check "direct, fanout and topic exchanges" do |connection|
  channel = connection.create_channel
  [
    [:direct, "k", %w[k], %w[other]],
    [:fanout, "", %w[k other], []],
    [:topic, "*.log.#", %w[a.log a.log.b.c], %w[log a.b.log]]
  ].each do |type, binding_key, hits, misses|
    exchange = channel.exchange(unique(type), type: type, auto_delete: true)
    queue = temporary(channel).bind(exchange, routing_key: binding_key)
    (misses + hits).each { |key| exchange.publish(key, routing_key: key) }
    equal(bodies(queue, hits.size), hits, type)
    equal(queue.pop, [nil, nil, nil], type)
    queue.unbind(exchange, routing_key: binding_key)
  end
end

check "headers exchange" do |connection|
  channel = connection.create_channel
  exchange = channel.headers(unique("headers"), auto_delete: true)
  all = temporary(channel).bind(exchange, arguments: { "x-match" => "all", "a" => 1, "b" => "two" })
  any = temporary(channel).bind(exchange, arguments: { "x-match" => "any", "a" => 1, "b" => "two" })
  [{ "a" => 1, "b" => "two" }, { "a" => 1 }, { "a" => 2 }].each { |headers| exchange.publish(headers.inspect, headers: headers) }
  equal(bodies(all, 1), [{ "a" => 1, "b" => "two" }.inspect])
  equal(bodies(any, 2), [{ "a" => 1, "b" => "two" }.inspect, { "a" => 1 }.inspect])
  equal([all.pop.first, any.pop.first], [nil, nil])
end

check "exchange to exchange" do |connection|
  channel = connection.create_channel
  source = channel.direct(unique("source"), auto_delete: true)
  destination = channel.fanout(unique("destination"), auto_delete: true)
  destination.bind(source, routing_key: "k")
  queue = temporary(channel).bind(destination)
  source.publish("through two", routing_key: "k")
  equal(bodies(queue, 1), ["through two"])
  destination.unbind(source, routing_key: "k")
end

check "confirms" do |connection|
  channel = connection.create_channel
  channel.confirm_select
  queue = channel.queue(unique("confirmed"), durable: true)
  200.times { queue.publish("x", persistent: true) }
  equal(channel.wait_for_confirms, true)
  equal(queue.message_count, 200)
  queue.purge
  queue.delete
end

check "reject-publish is a nack" do |connection|
  channel = connection.create_channel
  channel.confirm_select
  queue = temporary(channel, arguments: { "x-max-length" => 1, "x-overflow" => "reject-publish" })
  2.times { queue.publish("x") }
  equal(channel.wait_for_confirms, false)
  equal(channel.nacked_set.to_a, [2])
end

check "mandatory message comes back" do |connection|
  channel = connection.create_channel
  returned = Queue.new
  exchange = channel.default_exchange
  exchange.on_return { |info, properties, body| returned << [info.reply_code, info.reply_text, properties[:message_id], body] }
  exchange.publish("comes back", routing_key: unique("nowhere"), mandatory: true, message_id: "m")
  equal(Timeout.timeout(ARRIVAL_SECONDS_MAX) { returned.pop }, [312, "NO_ROUTE", "m", "comes back"])
end

check "ack, nack, reject, redelivered" do |connection|
  channel = connection.create_channel
  queue = temporary(channel)
  %w[acked nacked rejected dropped].each { |body| queue.publish(body) }
  seen = Queue.new
  queue.subscribe(manual_ack: true) do |info, _properties, body|
    if info.redelivered? || body == "acked"
      channel.ack(info.delivery_tag)
    elsif body == "nacked"
      channel.nack(info.delivery_tag, false, true)
    else
      channel.reject(info.delivery_tag, body == "rejected")
    end
    seen << "#{body} #{info.redelivered?}"
  end
  got = Timeout.timeout(ARRIVAL_SECONDS_MAX) { Array.new(6) { seen.pop } }
  equal(got.sort, ["acked false", "dropped false", "nacked false", "nacked true", "rejected false", "rejected true"])
end

check "prefetch and multiple ack" do |connection|
  channel = connection.create_channel
  channel.prefetch(3)
  queue = temporary(channel)
  10.times { |number| queue.publish(number.to_s) }
  seen = Queue.new
  queue.subscribe(manual_ack: true) { |info, _properties, body| seen << [info.delivery_tag, body] }
  third = Timeout.timeout(ARRIVAL_SECONDS_MAX) { Array.new(3) { seen.pop } }.last
  until_true("seven ready") { queue.message_count == 7 }
  equal(seen.empty?, true, "no fourth before an ack")
  channel.ack(third.first, true)
  equal(Timeout.timeout(ARRIVAL_SECONDS_MAX) { Array.new(3) { seen.pop[1] } }, %w[3 4 5])
end

check "get, recover, requeue by close" do |connection|
  channel = connection.create_channel
  queue = temporary(channel)
  queue.publish("a")
  equal(get(queue, manual_ack: true)[0].redelivered?, false)
  channel.recover(true)
  info, = get(queue, manual_ack: true)
  equal(info.redelivered?, true)
  channel.close
  equal(get(connection.create_channel.queue(queue.name, passive: true))[2], "a")
end

check "exclusive, auto-delete and server-named queues" do |connection|
  channel = connection.create_channel
  queue = temporary(channel)
  equal(queue.name.start_with?("amq.gen-"), true, queue.name)
  connected do |other|
    raises(Bunny::ResourceLocked) { other.create_channel.queue(queue.name, passive: true) }
  end
  shared = channel.queue("", auto_delete: true)
  shared.subscribe { nil }.cancel
  until_true("auto-delete queue gone") { !connection.queue_exists?(shared.name) }
  equal(connection.exchange_exists?("amq.topic"), true)
end

check "server cancel" do |connection|
  channel = connection.create_channel
  queue = temporary(channel)
  cancelled = Queue.new
  queue.subscribe(on_cancellation: ->(*) { cancelled << true }) { nil }
  connection.create_channel.queue_delete(queue.name)
  Timeout.timeout(ARRIVAL_SECONDS_MAX) { cancelled.pop }
end

check "properties and headers round trip" do |connection|
  channel = connection.create_channel
  queue = temporary(channel)
  headers = {
    "true" => true, "false" => false, "int" => 70_000, "negative" => -5, "long" => 1 << 40, "float" => 2.5,
    "text" => "plain", "nil" => nil, "time" => Time.at(1_700_000_000), "table" => { "inner" => { "deeper" => 1 } },
    "array" => [1, "a", true, 2.5, { "x" => "y" }]
  }
  sent = {
    content_type: "text/plain", content_encoding: "utf-8", priority: 4, correlation_id: "c", reply_to: "r",
    expiration: "60000", message_id: "m", type: "t", user_id: "guest", app_id: "a", cluster_id: "cl"
  }
  queue.publish("", headers: headers.merge("czech" => "žluťoučký"), timestamp: 1_700_000_000, persistent: true, **sent)
  _info, properties, body = get(queue)
  equal(body, "")
  sent.each { |name, value| equal(properties[name], value, name) }
  equal([properties[:timestamp].to_i, properties[:delivery_mode]], [1_700_000_000, 2])
  # Bunny hands strings back as bytes, so text beyond ASCII is compared as such.
  equal(properties[:headers].delete("czech").dup.force_encoding("UTF-8"), "žluťoučký")
  headers.each { |name, value| equal(properties[:headers][name], value, name) }
end

check "large message" do |connection|
  queue = temporary(connection.create_channel)
  large = Random.new(7).bytes(2 * 1024 * 1024 + 1)
  queue.publish(large)
  equal(get(queue)[2] == large, true, "2 MiB body")
end

check "transactions" do |connection|
  channel = connection.create_channel
  queue = temporary(channel)
  channel.tx_select
  queue.publish("rolled back")
  channel.tx_rollback
  queue.publish("committed")
  channel.tx_commit
  equal(bodies(queue, 1), ["committed"])
  equal(queue.pop.first, nil)
end

check "channel exception, then a new channel" do |connection|
  error = raises(Bunny::NotFound) { connection.create_channel.queue(unique("missing"), passive: true) }
  equal(error.message.start_with?("NOT_FOUND - no queue"), true, error.message)
  queue = connection.create_channel.queue(unique("redeclared"))
  raises(Bunny::PreconditionFailed) { connection.create_channel.queue(queue.name, durable: true) }
  raises(Bunny::AccessRefused) { connection.create_channel.direct("amq.reserved") }
  queue.delete
end

check "refused login" do
  raises(Bunny::AuthenticationFailureError) { connect(password: "wrong") }
end

check "unknown vhost" do
  raises(Bunny::NotAllowedError) { connect(vhost: "no-such-vhost") }
end

check "close and reconnect" do
  name = unique("durable")
  connected do |connection|
    channel = connection.create_channel
    channel.confirm_select
    channel.queue(name, durable: true).publish("waits", persistent: true)
    channel.wait_for_confirms
  end
  connected do |connection|
    queue = connection.create_channel.queue(name, durable: true)
    equal(bodies(queue, 1), ["waits"])
    queue.delete
  end
end

check "blocked callbacks register" do |connection|
  connection.on_blocked { nil }
  connection.on_unblocked { nil }
  equal(connection.server_properties["product"], "RabbitMQ")
  equal(connection.server_capabilities["connection.blocked"], true)
end

check "heartbeat keeps an idle connection", heartbeat: 2 do |connection|
  channel = connection.create_channel
  target = temporary(channel)
  delay = temporary(channel, arguments: { "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => target.name })
  seen = Queue.new
  target.subscribe { |_info, _properties, body| seen << body }
  delay.publish("after the silence", expiration: "7000")
  equal(Timeout.timeout(ARRIVAL_SECONDS_MAX) { seen.pop }, "after the silence")
end

check "direct reply-to" do |connection|
  client = connection.create_channel
  server = connection.create_channel
  requests = temporary(server)
  requests.subscribe do |_info, properties, body|
    server.default_exchange.publish(body.reverse, routing_key: properties.reply_to, correlation_id: properties.correlation_id)
  end
  replies = Queue.new
  client.basic_consume("amq.rabbitmq.reply-to", "", true) { |_info, properties, body| replies << [properties.correlation_id, body] }
  client.default_exchange.publish("abc", routing_key: requests.name, reply_to: "amq.rabbitmq.reply-to", correlation_id: "42")
  equal(Timeout.timeout(ARRIVAL_SECONDS_MAX) { replies.pop }, %w[42 cba])
end

failed = CHECKS.reject do |name, options, body|
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  Timeout.timeout(CHECK_SECONDS_MAX) { connected(**options, &body) }
  puts format("ok   %s (%.2f s)", name, Process.clock_gettime(Process::CLOCK_MONOTONIC) - started)
  true
rescue StandardError => e
  puts "FAIL #{name}: #{e.class}: #{e.message}", e.backtrace.first(5)
  false
end
puts "#{failed.size} failed: #{failed.map(&:first).join(', ')}" unless failed.empty?
exit(failed.empty? ? 0 : 1)
