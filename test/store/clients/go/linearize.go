package main

import (
	"context"
	"fmt"
	"math/rand"
	"strconv"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	workers = 8
	keys    = 4
	// An operation that takes longer counts as one of which nobody knows whether it happened.
	patience = 3 * time.Second
)

type operation int

const (
	read operation = iota
	write
	compareAndSwap
)

type input struct {
	key      string
	kind     operation
	value    string
	expected string
}

type output struct {
	value string
	// Of a comparison: whether it held.
	held bool
	// Nobody knows whether a write happened.
	unknown bool
}

// register is the model: each key holds one value, at first none.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(input).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() interface{} { return "" },
	Step: func(state, in, out interface{}) (bool, interface{}) {
		asked, got, value := in.(input), out.(output), state.(string)
		switch asked.kind {
		case read:
			return got.value == value, value
		case write:
			return true, asked.value
		default:
			if got.unknown {
				if value == asked.expected {
					return true, asked.value
				}
				return true, value
			}
			if got.held != (value == asked.expected) {
				return false, value
			}
			if got.held {
				return true, asked.value
			}
			return true, value
		}
	},
}

func linearize(endpoint string, duration time.Duration) error {
	begin := time.Now()
	run := strconv.FormatInt(begin.UnixNano(), 36)
	var mutex sync.Mutex
	var history []porcupine.Operation
	var lost int
	var group sync.WaitGroup
	for n := 0; n < workers; n++ {
		client, err := connect(endpoint)
		if err != nil {
			return err
		}
		defer client.Close()
		group.Add(1)
		go func() {
			defer group.Done()
			random := rand.New(rand.NewSource(int64(n)))
			last := map[string]string{}
			id := n
			for round := 0; time.Since(begin) < duration; round++ {
				asked := input{
					key:   fmt.Sprintf("/linear/%s/%d", run, random.Intn(keys)),
					kind:  operation(random.Intn(3)),
					value: fmt.Sprintf("%d.%d", n, round),
				}
				asked.expected = last[asked.key]
				call := time.Since(begin).Nanoseconds()
				got, known := perform(client, asked)
				op := porcupine.Operation{
					ClientId: id, Input: asked, Output: got, Call: call, Return: time.Since(begin).Nanoseconds(),
				}
				if !known {
					if asked.kind == read {
						continue
					}
					// It may happen at any time from now on, so the client that asked is never heard of again.
					op.Return = int64(1) << 62
					id += workers
				} else if asked.kind == read {
					last[asked.key] = got.value
				}
				mutex.Lock()
				history = append(history, op)
				if !known {
					lost++
				}
				mutex.Unlock()
			}
		}()
	}
	group.Wait()
	result, _ := porcupine.CheckOperationsVerbose(register, history, 2*time.Minute)
	fmt.Printf("%d operations, %d of them with an unknown end: %s\n", len(history), lost, result)
	if result != porcupine.Ok {
		return fmt.Errorf("the history is not linearizable: %s", result)
	}
	return nil
}

// perform returns false when nobody knows whether the operation happened.
func perform(client *clientv3.Client, asked input) (output, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch asked.kind {
	case read:
		answer, err := client.Get(ctx, asked.key)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			return output{}, false
		}
		if len(answer.Kvs) == 0 {
			return output{}, true
		}
		return output{value: string(answer.Kvs[0].Value)}, true
	case write:
		if _, err := client.Put(ctx, asked.key, asked.value); err != nil {
			time.Sleep(20 * time.Millisecond)
			return output{unknown: true}, false
		}
		return output{}, true
	default:
		condition := clientv3.Compare(clientv3.Value(asked.key), "=", asked.expected)
		if asked.expected == "" {
			condition = clientv3.Compare(clientv3.Version(asked.key), "=", 0)
		}
		answer, err := client.Txn(ctx).If(condition).Then(clientv3.OpPut(asked.key, asked.value)).Commit()
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			return output{unknown: true}, false
		}
		return output{held: answer.Succeeded}, true
	}
}
