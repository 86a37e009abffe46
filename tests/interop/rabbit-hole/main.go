// Go's client of the HTTP API, through which Terraform's provider works: each kind of object is created, read back, updated,
// listed and deleted, and each list and health check is parsed by its own types.
package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v2"
)

var runID = fmt.Sprintf("%x", time.Now().UnixNano()&0xffffffff)

// A slash and a blank have to be encoded in paths.
var vhost = "interop/rabbit hole." + runID

type check struct {
	name string
	run  func(client *rabbithole.Client) error
}

var checks = []check{
	{"virtual hosts and their limits", vhosts},
	{"users, permissions and limits", users},
	{"exchanges, queues and bindings", topology},
	{"policies and operator policies", policies},
	{"parameters", parameters},
	{"plugins that are off", plugins},
	{"definitions", definitions},
	{"all lists and health checks", lists},
}

func main() {
	client, err := rabbithole.NewClient(address(), "guest", "guest")
	if err == nil {
		client.SetTimeout(30 * time.Second)
		err = done(client.PutVhost(vhost, rabbithole.VhostSettings{Description: "first"}))
	}
	if err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
	failed := 0
	for _, check := range checks {
		if err := check.run(client); err != nil {
			failed++
			fmt.Printf("FAIL %s: %v\n", check.name, err)
			continue
		}
		fmt.Printf("ok   %s\n", check.name)
	}
	if err := done(client.DeleteVhost(vhost)); err != nil {
		failed++
		fmt.Println("FAIL", err)
	}
	if failed > 0 {
		fmt.Printf("%d failed\n", failed)
		os.Exit(1)
	}
}

func address() string {
	if address := os.Getenv("HTTP_URL"); address != "" {
		return address
	}
	return "http://127.0.0.1:15672"
}

// done is nil if a change was made.
func done(answer *http.Response, err error) error {
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", answer.Request.URL, answer.Status)
	}
	return nil
}

// gone is nil if what was deleted cannot be read any more.
func gone(answer *http.Response, err error, read func() error) error {
	if err := done(answer, err); err != nil {
		return err
	}
	failure, ok := read().(rabbithole.ErrorResponse)
	if !ok || failure.StatusCode != http.StatusNotFound {
		return fmt.Errorf("reading what is gone: %v", failure)
	}
	return nil
}

// equal compares pairs of what was got and what was wanted.
func equal(pairs ...any) error {
	for at := 0; at < len(pairs); at += 2 {
		if !reflect.DeepEqual(pairs[at], pairs[at+1]) {
			return fmt.Errorf("pair %d: got %#v, want %#v", at/2, pairs[at], pairs[at+1])
		}
	}
	return nil
}

// steps runs one after the other until one fails.
func steps(all ...func() error) error {
	for number, step := range all {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", number, err)
		}
	}
	return nil
}

func vhosts(client *rabbithole.Client) error {
	name := vhost + ".own"
	read := func(description string, tags rabbithole.VhostTags, tracing bool) func() error {
		return func() error {
			found, err := client.GetVhost(name)
			if err != nil {
				return err
			}
			return equal(found.Name, name, found.Description, description, found.Tags, tags, found.Tracing, tracing)
		}
	}
	put := func(settings rabbithole.VhostSettings) func() error {
		return func() error { return done(client.PutVhost(name, settings)) }
	}
	tags := rabbithole.VhostTags{"a", "b"}
	return steps(
		put(rabbithole.VhostSettings{Description: "mine", Tags: tags}),
		read("mine", tags, false),
		put(rabbithole.VhostSettings{Description: "mine", Tags: tags, Tracing: true}),
		read("mine", tags, true),
		func() error {
			return done(client.PutVhostLimits(name, rabbithole.VhostLimitsValues{"max-queues": 5}))
		},
		func() error {
			found, err := client.GetVhostLimits(name)
			if err != nil {
				return err
			}
			return equal(found, []rabbithole.VhostLimitsInfo{{Vhost: name, Value: rabbithole.VhostLimitsValues{"max-queues": 5}}})
		},
		func() error { return done(client.DeleteVhostLimits(name, rabbithole.VhostLimits{"max-queues"})) },
		func() error {
			found, err := client.GetVhostLimits(name)
			if err != nil {
				return err
			}
			return equal(len(found), 0)
		},
		func() error {
			answer, err := client.DeleteVhost(name)
			return gone(answer, err, func() error {
				_, err := client.GetVhost(name)
				return err
			})
		},
	)
}

func users(client *rabbithole.Client) error {
	name := "rabbit hole." + runID
	permissions := rabbithole.Permissions{Configure: "^c", Write: ".*", Read: "^$"}
	topic := rabbithole.TopicPermissions{Exchange: "amq.topic", Write: "^w", Read: "^r"}
	return steps(
		func() error {
			return done(client.PutUser(name, rabbithole.UserSettings{Password: "secret", Tags: rabbithole.UserTags{"management", "policymaker"}}))
		},
		func() error {
			found, err := client.GetUser(name)
			if err != nil {
				return err
			}
			return equal(found.Name, name, found.Tags, rabbithole.UserTags{"management", "policymaker"}, found.HashingAlgorithm, rabbithole.HashingAlgorithmSHA256)
		},
		func() error { return done(client.UpdatePermissionsIn(vhost, name, permissions)) },
		func() error {
			found, err := client.GetPermissionsIn(vhost, name)
			if err != nil {
				return err
			}
			return equal(found, rabbithole.PermissionInfo{User: name, Vhost: vhost, Configure: "^c", Write: ".*", Read: "^$"})
		},
		func() error { return done(client.UpdateTopicPermissionsIn(vhost, name, topic)) },
		func() error {
			found, err := client.GetTopicPermissionsIn(vhost, name)
			if err != nil {
				return err
			}
			return equal(found, []rabbithole.TopicPermissionInfo{{User: name, Vhost: vhost, Exchange: "amq.topic", Write: "^w", Read: "^r"}})
		},
		func() error { return done(client.PutUserLimits(name, rabbithole.UserLimitsValues{"max-channels": 7})) },
		func() error {
			found, err := client.GetUserLimits(name)
			if err != nil {
				return err
			}
			return equal(found, []rabbithole.UserLimitsInfo{{User: name, Value: rabbithole.UserLimitsValues{"max-channels": 7}}})
		},
		func() error {
			own, err := rabbithole.NewClient(address(), name, "secret")
			if err != nil {
				return err
			}
			who, err := own.Whoami()
			if err != nil {
				return err
			}
			return equal(who.Name, name)
		},
		func() error { return done(client.DeleteTopicPermissionsIn(vhost, name, "amq.topic")) },
		func() error { return done(client.ClearPermissionsIn(vhost, name)) },
		func() error {
			answer, err := client.DeleteUser(name)
			return gone(answer, err, func() error {
				_, err := client.GetUser(name)
				return err
			})
		},
	)
}

func topology(client *rabbithole.Client) error {
	arguments := map[string]any{"alternate-exchange": "amq.fanout"}
	limits := map[string]any{"x-max-length": float64(10), "x-queue-type": "classic"}
	binding := rabbithole.BindingInfo{
		Source: "an exchange", Vhost: vhost, Destination: "a/queue", DestinationType: "queue", RoutingKey: "a.# b",
		Arguments: map[string]any{"one": float64(1)},
	}
	return steps(
		func() error {
			return done(client.DeclareExchange(vhost, "an exchange", rabbithole.ExchangeSettings{Type: "topic", Durable: true, Arguments: arguments}))
		},
		func() error {
			found, err := client.GetExchange(vhost, "an exchange")
			if err != nil {
				return err
			}
			return equal(found.Type, "topic", found.Durable, true, bool(found.AutoDelete), false, found.Arguments, arguments)
		},
		func() error {
			return done(client.DeclareQueue(vhost, "a/queue", rabbithole.QueueSettings{Durable: true, Arguments: limits}))
		},
		func() error {
			found, err := client.GetQueue(vhost, "a/queue")
			if err != nil {
				return err
			}
			return equal(found.Name, "a/queue", found.Vhost, vhost, found.Durable, true, found.Type, "classic", found.Arguments, limits)
		},
		func() error { return done(client.DeclareBinding(vhost, binding)) },
		func() error {
			found, err := client.ListQueueBindingsBetween(vhost, "an exchange", "a/queue")
			if err != nil {
				return err
			}
			if len(found) != 1 {
				return fmt.Errorf("bindings: %v", found)
			}
			binding.PropertiesKey = found[0].PropertiesKey
			return equal(found[0], binding)
		},
		func() error {
			all, err := client.ListExchangeBindingsWithSource(vhost, "an exchange")
			if err != nil {
				return err
			}
			return equal(len(all), 1)
		},
		func() error { return done(client.PurgeQueue(vhost, "a/queue")) },
		func() error { return done(client.DeleteBinding(vhost, binding)) },
		func() error {
			all, err := client.ListExchangeBindingsWithSource(vhost, "an exchange")
			if err != nil {
				return err
			}
			return equal(len(all), 0)
		},
		func() error {
			answer, err := client.DeleteQueue(vhost, "a/queue", rabbithole.QueueDeleteOptions{IfEmpty: true, IfUnused: true})
			return gone(answer, err, func() error {
				_, err := client.GetQueue(vhost, "a/queue")
				return err
			})
		},
		func() error {
			answer, err := client.DeleteExchange(vhost, "an exchange")
			return gone(answer, err, func() error {
				_, err := client.GetExchange(vhost, "an exchange")
				return err
			})
		},
	)
}

func policies(client *rabbithole.Client) error {
	definition := rabbithole.PolicyDefinition{"max-length": float64(100), "overflow": "reject-publish"}
	policy := rabbithole.Policy{Vhost: vhost, Name: "some", Pattern: "^a", ApplyTo: "queues", Priority: 3, Definition: definition}
	operators := rabbithole.OperatorPolicy{Vhost: vhost, Name: "all", Pattern: ".*", ApplyTo: "queues", Priority: 1, Definition: rabbithole.PolicyDefinition{"max-length": float64(50)}}
	return steps(
		func() error { return done(client.PutPolicy(vhost, policy.Name, policy)) },
		func() error {
			found, err := client.GetPolicy(vhost, policy.Name)
			if err != nil {
				return err
			}
			return equal(*found, policy)
		},
		func() error { return done(client.PutOperatorPolicy(vhost, operators.Name, operators)) },
		func() error {
			found, err := client.GetOperatorPolicy(vhost, operators.Name)
			if err != nil {
				return err
			}
			return equal(*found, operators)
		},
		func() error {
			answer, err := client.DeletePolicy(vhost, policy.Name)
			return gone(answer, err, func() error {
				_, err := client.GetPolicy(vhost, policy.Name)
				return err
			})
		},
		func() error {
			answer, err := client.DeleteOperatorPolicy(vhost, operators.Name)
			return gone(answer, err, func() error {
				_, err := client.GetOperatorPolicy(vhost, operators.Name)
				return err
			})
		},
	)
}

func parameters(client *rabbithole.Client) error {
	name := "rabbit hole." + runID
	return steps(
		func() error { return done(client.PutGlobalParameter(name, map[string]any{"k": "v"})) },
		func() error {
			found, err := client.GetGlobalParameter(name)
			if err != nil {
				return err
			}
			return equal(found.Value, map[string]any{"k": "v"})
		},
		func() error {
			answer, err := client.DeleteGlobalParameter(name)
			return gone(answer, err, func() error {
				_, err := client.GetGlobalParameter(name)
				return err
			})
		},
	)
}

// plugins that are off have no components.
func plugins(client *rabbithole.Client) error {
	refused := func(_ *http.Response, err error) error {
		failure, ok := err.(rabbithole.ErrorResponse)
		if !ok || failure.StatusCode != http.StatusBadRequest {
			return fmt.Errorf("not refused: %v", err)
		}
		return nil
	}
	return steps(
		func() error {
			return refused(client.DeclareShovel(vhost, "s", rabbithole.ShovelDefinition{SourceURI: []string{"amqp://"}, DestinationURI: []string{"amqp://"}, SourceQueue: "a", DestinationQueue: "b"}))
		},
		func() error {
			return refused(client.PutFederationUpstream(vhost, "u", rabbithole.FederationDefinition{Uri: []string{"amqp://"}}))
		},
	)
}

func definitions(client *rabbithole.Client) error {
	all, err := client.ListDefinitions()
	if err != nil {
		return err
	}
	// The client writes a blank in this path in a way that no broker reads.
	own, err := client.ListVhostDefinitions("/")
	if err != nil {
		return err
	}
	return equal(len(*all.Vhosts) > 0, true, len(*all.Users) > 0, true, own.Users == nil, true)
}

// read tells what a list or a check failed with.
func read[T any](_ T, err error) error { return err }

func lists(client *rabbithole.Client) error {
	page := url.Values{"page": {"1"}, "page_size": {"10"}}
	return steps(
		func() error {
			overview, err := client.Overview()
			if err != nil {
				return err
			}
			node, err := client.GetNode(overview.Node)
			if err != nil {
				return err
			}
			return equal(node.Name, overview.Node, node.IsRunning, true)
		},
		func() error { return read(client.GetClusterName()) },
		func() error { return read(client.EnabledProtocols()) },
		func() error { return read(client.ListNodes()) },
		func() error { return read(client.ListVhosts()) },
		func() error { return read(client.ListUsers()) },
		func() error { return read(client.ListPermissions()) },
		func() error { return read(client.ListTopicPermissions()) },
		func() error { return read(client.ListConnections()) },
		func() error { return read(client.ListVhostConnections(vhost)) },
		func() error { return read(client.ListChannels()) },
		func() error { return read(client.ListConsumers()) },
		func() error { return read(client.ListExchanges()) },
		func() error { return read(client.ListQueues()) },
		func() error { return read(client.PagedListQueuesWithParameters(page)) },
		func() error { return read(client.ListBindings()) },
		func() error { return read(client.ListPolicies()) },
		func() error { return read(client.ListOperatorPolicies()) },
		func() error { return read(client.ListRuntimeParameters()) },
		func() error { return read(client.ListGlobalParameters()) },
		func() error { return read(client.ListFeatureFlags()) },
		func() error { return read(client.GetAllVhostLimits()) },
		func() error { return read(client.GetAllUserLimits()) },
		func() error { return read(client.HealthCheckAlarms()) },
		func() error { return read(client.HealthCheckLocalAlarms()) },
		func() error { return read(client.HealthCheckVirtualHosts()) },
		func() error { return read(client.HealthCheckNodeIsQuorumCritical()) },
		func() error { return read(client.HealthCheckProtocolListener(rabbithole.Protocol("amqp"))) },
	)
}
