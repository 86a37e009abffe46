// The Go client. Each check gets its own connection and channel and returns an error to fail.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	checkTimeout   = 120 * time.Second
	arrivalTimeout = 60 * time.Second
	pollInterval   = 10 * time.Millisecond
)

type check struct {
	name string
	run  func(connection *amqp.Connection, channel *amqp.Channel) error
}

var checks = []check{
	{"direct, fanout and topic exchanges", exchangeTypes},
	{"headers exchange", headersExchange},
	{"exchange to exchange", exchangeToExchange},
	{"confirms, deferred and by channel", confirms},
	{"reject-publish is a nack", rejectPublish},
	{"mandatory message comes back", mandatoryReturn},
	{"ack, nack, reject, redelivered", settlement},
	{"prefetch and multiple ack", prefetch},
	{"get, recover, requeue by close", getAndRecover},
	{"exclusive, auto-delete and server-named queues", queueLifetimes},
	{"server cancel", serverCancel},
	{"properties and headers round trip", roundTrip},
	{"large message", largeMessage},
	{"transactions", transactions},
	{"channel exception, then a new channel", channelException},
	{"refused login and unknown vhost", refusedConnections},
	{"close and reconnect", reconnect},
	{"blocked notification registers", blockedNotification},
	{"heartbeat keeps an idle connection", heartbeat},
	{"direct reply-to", directReplyTo},
	{"many channels at once", manyChannels},
}

func main() {
	failed := 0
	for _, check := range checks {
		started := time.Now()
		done := make(chan error, 1)
		go func() { done <- connected(amqp.Config{}, check.run) }()
		var err error
		select {
		case err = <-done:
		case <-time.After(checkTimeout):
			err = fmt.Errorf("did not end within %v", checkTimeout)
		}
		if err != nil {
			failed++
			fmt.Printf("FAIL %s: %v\n", check.name, err)
			continue
		}
		fmt.Printf("ok   %s (%v)\n", check.name, time.Since(started).Round(time.Millisecond))
	}
	if failed > 0 {
		fmt.Printf("%d failed\n", failed)
		os.Exit(1)
	}
}

func brokerURL() string {
	if url := os.Getenv("AMQP_URL"); url != "" {
		return url
	}
	return "amqp://guest:guest@127.0.0.1:5672/"
}

func connected(config amqp.Config, run func(*amqp.Connection, *amqp.Channel) error) error {
	connection, err := amqp.DialConfig(brokerURL(), config)
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	if err := run(connection, channel); err != nil {
		return err
	}
	if connection.IsClosed() {
		return nil
	}
	return connection.Close()
}

var (
	runID   = fmt.Sprintf("%x", time.Now().UnixNano()&0xffffffff)
	counter int
)

// unique is a queue or exchange name no other check or run uses.
func unique(stem string) string {
	counter++
	return fmt.Sprintf("interop.%s.%s.%d", stem, runID, counter)
}

func serverNamed(channel *amqp.Channel, arguments amqp.Table) (string, error) {
	queue, err := channel.QueueDeclare("", false, false, true, false, arguments)
	return queue.Name, err
}

func until(what string, condition func() (bool, error)) error {
	deadline := time.Now().Add(arrivalTimeout)
	for {
		met, err := condition()
		if met || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %s", arrivalTimeout, what)
		}
		time.Sleep(pollInterval)
	}
}

func get(channel *amqp.Channel, queue string, autoAck bool) (message amqp.Delivery, err error) {
	err = until("a message in "+queue, func() (found bool, err error) {
		message, found, err = channel.Get(queue, autoAck)
		return found, err
	})
	return message, err
}

func take[T any](from <-chan T, what string) (T, error) {
	select {
	case value, open := <-from:
		if !open {
			return value, fmt.Errorf("closed while waiting for %s", what)
		}
		return value, nil
	case <-time.After(arrivalTimeout):
		var none T
		return none, fmt.Errorf("not within %v: %s", arrivalTimeout, what)
	}
}

func equal(what string, actual, expected any) error {
	if !reflect.DeepEqual(actual, expected) {
		return fmt.Errorf("%s: expected %#v, got %#v", what, expected, actual)
	}
	return nil
}

func text(body string) amqp.Publishing { return amqp.Publishing{Body: []byte(body)} }

func publish(channel *amqp.Channel, exchange, key string, message amqp.Publishing) error {
	return channel.PublishWithContext(context.Background(), exchange, key, false, false, message)
}

// expectBodies takes exactly these bodies out of the queue, in this order, and finds it empty then.
func expectBodies(channel *amqp.Channel, queue string, bodies ...string) error {
	for _, body := range bodies {
		message, err := get(channel, queue, true)
		if err != nil {
			return err
		}
		if err := equal("body", string(message.Body), body); err != nil {
			return err
		}
	}
	if _, found, err := channel.Get(queue, true); err != nil || found {
		return fmt.Errorf("more than %v in the queue (%v)", bodies, err)
	}
	return nil
}

func expectCode(err error, code int) error {
	var closed *amqp.Error
	if !errors.As(err, &closed) || closed.Code != code {
		return fmt.Errorf("expected a close with %d, got %v", code, err)
	}
	return nil
}

func exchangeTypes(_ *amqp.Connection, channel *amqp.Channel) error {
	for _, one := range []struct {
		kind, binding string
		hits, misses  []string
	}{
		{amqp.ExchangeDirect, "k", []string{"k"}, []string{"other"}},
		{amqp.ExchangeFanout, "", []string{"k", "other"}, nil},
		{amqp.ExchangeTopic, "*.log.#", []string{"a.log", "a.log.b.c"}, []string{"log", "a.b.log"}},
	} {
		exchange := unique(one.kind)
		if err := channel.ExchangeDeclare(exchange, one.kind, false, true, false, false, nil); err != nil {
			return err
		}
		queue, err := serverNamed(channel, nil)
		if err != nil {
			return err
		}
		if err := channel.QueueBind(queue, one.binding, exchange, false, nil); err != nil {
			return err
		}
		for _, key := range append(one.misses, one.hits...) {
			if err := publish(channel, exchange, key, text(key)); err != nil {
				return err
			}
		}
		if err := expectBodies(channel, queue, one.hits...); err != nil {
			return fmt.Errorf("%s: %w", one.kind, err)
		}
		if err := channel.QueueUnbind(queue, one.binding, exchange, nil); err != nil {
			return err
		}
	}
	return nil
}

func headersExchange(_ *amqp.Connection, channel *amqp.Channel) error {
	exchange := unique("headers")
	if err := channel.ExchangeDeclare(exchange, amqp.ExchangeHeaders, false, true, false, false, nil); err != nil {
		return err
	}
	var queues []string
	for _, match := range []string{"all", "any"} {
		queue, err := serverNamed(channel, nil)
		if err != nil {
			return err
		}
		arguments := amqp.Table{"x-match": match, "a": int32(1), "b": "two"}
		if err := channel.QueueBind(queue, "", exchange, false, arguments); err != nil {
			return err
		}
		queues = append(queues, queue)
	}
	for body, headers := range map[string]amqp.Table{
		"both": {"a": int64(1), "b": "two"},
		"none": {"a": int32(2)},
	} {
		if err := publish(channel, exchange, "", amqp.Publishing{Headers: headers, Body: []byte(body)}); err != nil {
			return err
		}
	}
	if err := publish(channel, exchange, "", amqp.Publishing{Headers: amqp.Table{"b": "two"}, Body: []byte("one")}); err != nil {
		return err
	}
	return errors.Join(
		expectBodies(channel, queues[0], "both"),
		expectBodies(channel, queues[1], "both", "one"),
	)
}

func exchangeToExchange(_ *amqp.Connection, channel *amqp.Channel) error {
	source, destination := unique("source"), unique("destination")
	queue, err := serverNamed(channel, nil)
	if err := errors.Join(
		err,
		channel.ExchangeDeclare(source, "direct", false, true, false, false, nil),
		channel.ExchangeDeclare(destination, "fanout", false, true, false, false, nil),
		channel.ExchangeBind(destination, "k", source, false, nil),
		channel.QueueBind(queue, "", destination, false, nil),
		publish(channel, source, "k", text("through two")),
	); err != nil {
		return err
	}
	return errors.Join(
		expectBodies(channel, queue, "through two"),
		channel.ExchangeUnbind(destination, "k", source, false, nil),
	)
}

func confirms(_ *amqp.Connection, channel *amqp.Channel) error {
	queue := unique("confirmed")
	if _, err := channel.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	const count = 200
	notified := channel.NotifyPublish(make(chan amqp.Confirmation, count))
	var deferred []*amqp.DeferredConfirmation
	for range count {
		confirmation, err := channel.PublishWithDeferredConfirm(
			"", queue, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("x")})
		if err != nil {
			return err
		}
		deferred = append(deferred, confirmation)
	}
	for number := uint64(1); number <= count; number++ {
		confirmation, err := take(notified, "a confirmation")
		if err != nil {
			return err
		}
		if err := equal("confirmation", confirmation, amqp.Confirmation{DeliveryTag: number, Ack: true}); err != nil {
			return err
		}
	}
	for _, confirmation := range deferred {
		if !confirmation.Wait() {
			return errors.New("a publish was refused")
		}
	}
	purged, err := channel.QueuePurge(queue, false)
	if err != nil {
		return err
	}
	if _, err := channel.QueueDelete(queue, true, true, false); err != nil {
		return err
	}
	return equal("purged", purged, count)
}

func rejectPublish(_ *amqp.Connection, channel *amqp.Channel) error {
	queue, err := serverNamed(channel, amqp.Table{"x-max-length": int32(1), "x-overflow": amqp.QueueOverflowRejectPublish})
	if err := errors.Join(err, channel.Confirm(false)); err != nil {
		return err
	}
	for _, accepted := range []bool{true, false} {
		confirmation, err := channel.PublishWithDeferredConfirm("", queue, false, false, text("x"))
		if err != nil {
			return err
		}
		if err := equal("accepted", confirmation.Wait(), accepted); err != nil {
			return err
		}
	}
	return nil
}

func mandatoryReturn(_ *amqp.Connection, channel *amqp.Channel) error {
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	key := unique("nowhere")
	message := amqp.Publishing{MessageId: "m", Body: []byte("comes back")}
	if err := channel.PublishWithContext(context.Background(), "", key, true, false, message); err != nil {
		return err
	}
	back, err := take(returned, "the return")
	if err != nil {
		return err
	}
	return equal(
		"return",
		[]any{back.ReplyCode, back.ReplyText, back.RoutingKey, back.MessageId, string(back.Body)},
		[]any{uint16(312), "NO_ROUTE", key, "m", "comes back"},
	)
}

func settlement(_ *amqp.Connection, channel *amqp.Channel) error {
	queue, err := serverNamed(channel, nil)
	if err != nil {
		return err
	}
	for _, body := range []string{"acked", "nacked", "rejected", "dropped"} {
		if err := publish(channel, "", queue, text(body)); err != nil {
			return err
		}
	}
	deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	var seen []string
	for len(seen) < 6 {
		message, err := take(deliveries, "a delivery")
		if err != nil {
			return err
		}
		body := string(message.Body)
		seen = append(seen, fmt.Sprint(body, " ", message.Redelivered))
		switch {
		case message.Redelivered || body == "acked":
			err = message.Ack(false)
		case body == "nacked":
			err = message.Nack(false, true)
		default:
			err = message.Reject(body == "rejected")
		}
		if err != nil {
			return err
		}
	}
	sort.Strings(seen)
	return equal("deliveries", seen, []string{
		"acked false", "dropped false", "nacked false", "nacked true", "rejected false", "rejected true",
	})
}

func prefetch(_ *amqp.Connection, channel *amqp.Channel) error {
	queue, err := serverNamed(channel, nil)
	if err := errors.Join(err, channel.Qos(3, 0, false)); err != nil {
		return err
	}
	for number := range 10 {
		if err := publish(channel, "", queue, text(fmt.Sprint(number))); err != nil {
			return err
		}
	}
	deliveries, err := channel.Consume(queue, "c", false, false, false, false, nil)
	if err != nil {
		return err
	}
	var last amqp.Delivery
	for range 3 {
		if last, err = take(deliveries, "a delivery"); err != nil {
			return err
		}
	}
	if err := until("seven ready", func() (bool, error) {
		state, err := channel.QueueDeclarePassive(queue, false, false, true, false, nil)
		return state.Messages == 7, err
	}); err != nil {
		return err
	}
	if len(deliveries) != 0 {
		return errors.New("a fourth delivery before an ack")
	}
	if err := last.Ack(true); err != nil {
		return err
	}
	for number := 3; number < 6; number++ {
		message, err := take(deliveries, "a delivery")
		if err != nil {
			return err
		}
		if err := equal("order", string(message.Body), fmt.Sprint(number)); err != nil {
			return err
		}
	}
	return channel.Cancel("c", false)
}

func getAndRecover(connection *amqp.Connection, channel *amqp.Channel) error {
	queue, err := serverNamed(channel, nil)
	if err := errors.Join(
		err,
		publish(channel, "", queue, text("a")),
		publish(channel, "", queue, text("b")),
	); err != nil {
		return err
	}
	first, err := get(channel, queue, false)
	if err := errors.Join(err, equal("remaining", first.MessageCount, uint32(1)), channel.Recover(true)); err != nil {
		return err
	}
	again, err := get(channel, queue, false)
	if err := errors.Join(
		err,
		equal("body", string(again.Body), "a"),
		equal("redelivered", again.Redelivered, true),
		channel.Close(),
	); err != nil {
		return err
	}
	next, err := connection.Channel()
	if err != nil {
		return err
	}
	return expectBodies(next, queue, "a", "b")
}

func queueLifetimes(connection *amqp.Connection, channel *amqp.Channel) error {
	exclusive, err := serverNamed(channel, nil)
	if err != nil || !strings.HasPrefix(exclusive, "amq.gen-") {
		return fmt.Errorf("server-named: %q %v", exclusive, err)
	}
	if err := connected(amqp.Config{}, func(_ *amqp.Connection, other *amqp.Channel) error {
		_, err := other.QueueDeclarePassive(exclusive, false, false, true, false, nil)
		return expectCode(err, amqp.ResourceLocked)
	}); err != nil {
		return err
	}
	shared, err := channel.QueueDeclare("", false, true, false, false, nil)
	if err != nil {
		return err
	}
	if _, err := channel.Consume(shared.Name, "only", true, false, false, false, nil); err != nil {
		return err
	}
	if err := channel.Cancel("only", false); err != nil {
		return err
	}
	return until("auto-delete queue gone", func() (bool, error) {
		probe, err := connection.Channel()
		if err != nil {
			return false, err
		}
		defer probe.Close()
		_, err = probe.QueueDeclarePassive(shared.Name, false, true, false, false, nil)
		if err == nil {
			return false, nil
		}
		return true, expectCode(err, amqp.NotFound)
	})
}

func serverCancel(connection *amqp.Connection, channel *amqp.Channel) error {
	queue, err := serverNamed(channel, nil)
	if err != nil {
		return err
	}
	cancelled := channel.NotifyCancel(make(chan string, 1))
	if _, err := channel.Consume(queue, "doomed", true, false, false, false, nil); err != nil {
		return err
	}
	other, err := connection.Channel()
	if err != nil {
		return err
	}
	if _, err := other.QueueDelete(queue, false, false, false); err != nil {
		return err
	}
	tag, err := take(cancelled, "the cancel")
	return errors.Join(err, equal("tag", tag, "doomed"))
}

func roundTrip(_ *amqp.Connection, channel *amqp.Channel) error {
	moment := time.Unix(1_700_000_000, 0)
	headers := amqp.Table{
		"bool":    true,
		"int8":    int8(-5),
		"uint8":   uint8(200),
		"int16":   int16(-300),
		"int32":   int32(70_000),
		"int64":   int64(1) << 40,
		"float32": float32(0.5),
		"float64": 2.5,
		"text":    "žluťoučký",
		"bytes":   []byte{0, 255},
		"nil":     nil,
		"decimal": amqp.Decimal{Scale: 2, Value: 314},
		"time":    moment,
		"table":   amqp.Table{"inner": amqp.Table{"deeper": int32(1)}},
		"array":   []interface{}{int32(1), "a", true, nil, amqp.Table{"x": "y"}},
	}
	sent := amqp.Publishing{
		Headers: headers, ContentType: "text/plain", ContentEncoding: "utf-8", DeliveryMode: 2, Priority: 4,
		CorrelationId: "c", ReplyTo: "r", Expiration: "60000", MessageId: "m", Timestamp: moment, Type: "t",
		UserId: "guest", AppId: "a",
	}
	queue, err := serverNamed(channel, nil)
	if err := errors.Join(err, publish(channel, "", queue, sent)); err != nil {
		return err
	}
	got, err := get(channel, queue, true)
	if err != nil {
		return err
	}
	for name, value := range headers {
		if err := equal(name, got.Headers[name], value); err != nil {
			return err
		}
	}
	return equal("properties",
		[]any{
			got.ContentType, got.ContentEncoding, got.DeliveryMode, got.Priority, got.CorrelationId, got.ReplyTo,
			got.Expiration, got.MessageId, got.Timestamp.Unix(), got.Type, got.UserId, got.AppId, len(got.Body),
		},
		[]any{
			sent.ContentType, sent.ContentEncoding, sent.DeliveryMode, sent.Priority, sent.CorrelationId, sent.ReplyTo,
			sent.Expiration, sent.MessageId, moment.Unix(), sent.Type, sent.UserId, sent.AppId, 0,
		})
}

func largeMessage(_ *amqp.Connection, channel *amqp.Channel) error {
	body := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	queue, err := serverNamed(channel, nil)
	if err := errors.Join(err, publish(channel, "", queue, amqp.Publishing{Body: body})); err != nil {
		return err
	}
	got, err := get(channel, queue, true)
	if err == nil && !bytes.Equal(got.Body, body) {
		err = errors.New("4 MiB body differs")
	}
	return err
}

func transactions(_ *amqp.Connection, channel *amqp.Channel) error {
	queue, err := serverNamed(channel, nil)
	if err := errors.Join(
		err,
		channel.Tx(),
		publish(channel, "", queue, text("rolled back")),
		channel.TxRollback(),
		publish(channel, "", queue, text("committed")),
		channel.TxCommit(),
	); err != nil {
		return err
	}
	return expectBodies(channel, queue, "committed")
}

func channelException(connection *amqp.Connection, channel *amqp.Channel) error {
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	_, err := channel.QueueDeclarePassive(unique("missing"), false, false, false, false, nil)
	if err := expectCode(err, amqp.NotFound); err != nil {
		return err
	}
	if reason, err := take(closed, "the close"); err != nil || !strings.HasPrefix(reason.Reason, "NOT_FOUND - no queue") {
		return fmt.Errorf("close: %v %v", reason, err)
	}
	next, err := connection.Channel()
	if err != nil {
		return err
	}
	closed = next.NotifyClose(make(chan *amqp.Error, 1))
	if err := next.Ack(99, false); err != nil {
		return err
	}
	reason, err := take(closed, "the close")
	return errors.Join(err, equal("reason", reason.Reason, "PRECONDITION_FAILED - unknown delivery tag 99"))
}

func refusedConnections(*amqp.Connection, *amqp.Channel) error {
	_, err := amqp.DialConfig(brokerURL(), amqp.Config{SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "guest", Password: "wrong"}}})
	if err := expectCode(err, amqp.AccessRefused); err != nil {
		return err
	}
	_, err = amqp.DialConfig(brokerURL(), amqp.Config{Vhost: "no-such-vhost"})
	return expectCode(err, amqp.NotAllowed)
}

func reconnect(connection *amqp.Connection, channel *amqp.Channel) error {
	queue := unique("durable")
	if _, err := channel.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	confirmation, err := channel.PublishWithDeferredConfirm(
		"", queue, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("waits")})
	if err != nil {
		return err
	}
	confirmation.Wait()
	if err := connection.Close(); err != nil {
		return err
	}
	return connected(amqp.Config{}, func(_ *amqp.Connection, channel *amqp.Channel) error {
		if err := expectBodies(channel, queue, "waits"); err != nil {
			return err
		}
		_, err := channel.QueueDelete(queue, false, false, false)
		return err
	})
}

func blockedNotification(connection *amqp.Connection, _ *amqp.Channel) error {
	connection.NotifyBlocked(make(chan amqp.Blocking, 1))
	capabilities, _ := connection.Properties["capabilities"].(amqp.Table)
	return errors.Join(
		equal("product", connection.Properties["product"], "RabbitMQ"),
		equal("capability", capabilities["connection.blocked"], true),
	)
}

func heartbeat(*amqp.Connection, *amqp.Channel) error {
	return connected(amqp.Config{Heartbeat: 2 * time.Second}, func(connection *amqp.Connection, channel *amqp.Channel) error {
		if err := equal("negotiated", connection.Config.Heartbeat, 2*time.Second); err != nil {
			return err
		}
		target, err := serverNamed(channel, nil)
		if err != nil {
			return err
		}
		delay, err := serverNamed(channel, amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target})
		if err != nil {
			return err
		}
		deliveries, err := channel.Consume(target, "", true, false, false, false, nil)
		if err != nil {
			return err
		}
		late := amqp.Publishing{Expiration: "7000", Body: []byte("after the silence")}
		if err := publish(channel, "", delay, late); err != nil {
			return err
		}
		message, err := take(deliveries, "the delayed message")
		return errors.Join(err, equal("body", string(message.Body), "after the silence"))
	})
}

func directReplyTo(connection *amqp.Connection, client *amqp.Channel) error {
	server, err := connection.Channel()
	if err != nil {
		return err
	}
	queue, err := serverNamed(server, nil)
	if err != nil {
		return err
	}
	requests, err := server.Consume(queue, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	replies, err := client.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	request := amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: "42", Body: []byte("abc")}
	if err := publish(client, "", queue, request); err != nil {
		return err
	}
	received, err := take(requests, "the request")
	if err != nil {
		return err
	}
	reply := amqp.Publishing{CorrelationId: received.CorrelationId, Body: append(received.Body, '!')}
	if err := publish(server, "", received.ReplyTo, reply); err != nil {
		return err
	}
	answer, err := take(replies, "the reply")
	return errors.Join(err, equal("reply", answer.CorrelationId+" "+string(answer.Body), "42 abc!"))
}

func manyChannels(connection *amqp.Connection, channel *amqp.Channel) error {
	queue, err := serverNamed(channel, nil)
	if err != nil {
		return err
	}
	const publishers, each = 20, 50
	done := make(chan error, publishers)
	for range publishers {
		go func() {
			done <- func() error {
				own, err := connection.Channel()
				if err != nil {
					return err
				}
				if err := own.Confirm(false); err != nil {
					return err
				}
				for range each {
					confirmation, err := own.PublishWithDeferredConfirm("", queue, false, false, text("x"))
					if err != nil {
						return err
					}
					if !confirmation.Wait() {
						return errors.New("refused")
					}
				}
				return own.Close()
			}()
		}()
	}
	for range publishers {
		if err := <-done; err != nil {
			return err
		}
	}
	state, err := channel.QueueDeclarePassive(queue, false, false, true, false, nil)
	return errors.Join(err, equal("ready", state.Messages, publishers*each))
}
