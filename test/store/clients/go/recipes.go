package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

const contenders = 8

func recipes(endpoint string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for _, recipe := range []struct {
		name string
		run  func(context.Context, string) error
	}{{"mutex", mutex}, {"election", election}, {"stm", stm}} {
		if err := recipe.run(ctx, endpoint); err != nil {
			return fmt.Errorf("%s: %w", recipe.name, err)
		}
		fmt.Println(recipe.name, "ok")
	}
	return nil
}

// together runs work once for each contender, each with a client and a session of its own.
func together(ctx context.Context, endpoint string, work func(int, *concurrency.Session) error) error {
	var group sync.WaitGroup
	failures := make(chan error, contenders)
	for n := 0; n < contenders; n++ {
		group.Add(1)
		go func() {
			defer group.Done()
			client, err := connect(endpoint)
			if err != nil {
				failures <- err
				return
			}
			defer client.Close()
			session, err := concurrency.NewSession(client, concurrency.WithTTL(10), concurrency.WithContext(ctx))
			if err != nil {
				failures <- err
				return
			}
			defer session.Close()
			if err := work(n, session); err != nil {
				failures <- err
			}
		}()
	}
	group.Wait()
	close(failures)
	return <-failures
}

func mutex(ctx context.Context, endpoint string) error {
	var inside, entries int
	err := together(ctx, endpoint, func(_ int, session *concurrency.Session) error {
		lock := concurrency.NewMutex(session, "/mutex/")
		for round := 0; round < 10; round++ {
			if err := lock.Lock(ctx); err != nil {
				return err
			}
			inside++
			if inside != 1 {
				return fmt.Errorf("%d holders at once", inside)
			}
			entries++
			inside--
			if err := lock.Unlock(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && entries != contenders*10 {
		return fmt.Errorf("%d entries", entries)
	}
	return err
}

func election(ctx context.Context, endpoint string) error {
	leaders := make(chan string, contenders)
	err := together(ctx, endpoint, func(n int, session *concurrency.Session) error {
		name := strconv.Itoa(n)
		contest := concurrency.NewElection(session, "/election/")
		if err := contest.Campaign(ctx, name); err != nil {
			return err
		}
		leader, err := contest.Leader(ctx)
		if err != nil {
			return err
		}
		if string(leader.Kvs[0].Value) != name {
			return fmt.Errorf("%s was elected and %s leads", name, leader.Kvs[0].Value)
		}
		leaders <- name
		return contest.Resign(ctx)
	})
	close(leaders)
	seen := map[string]bool{}
	for name := range leaders {
		seen[name] = true
	}
	if err == nil && len(seen) != contenders {
		return fmt.Errorf("%d of %d led", len(seen), contenders)
	}
	return err
}

// stm moves amounts between accounts; their sum never changes.
func stm(ctx context.Context, endpoint string) error {
	const accounts, each = 5, 100
	client, err := connect(endpoint)
	if err != nil {
		return err
	}
	defer client.Close()
	key := func(n int) string { return fmt.Sprintf("/accounts/%d", n%accounts) }
	for n := 0; n < accounts; n++ {
		if _, err := client.Put(ctx, key(n), strconv.Itoa(each)); err != nil {
			return err
		}
	}
	err = together(ctx, endpoint, func(n int, session *concurrency.Session) error {
		for round := 0; round < 20; round++ {
			from, to := key(n+round), key(n+round+1+round%(accounts-1))
			if from == to {
				continue
			}
			if _, err := concurrency.NewSTM(session.Client(), func(view concurrency.STM) error {
				giver, _ := strconv.Atoi(view.Get(from))
				taker, _ := strconv.Atoi(view.Get(to))
				view.Put(from, strconv.Itoa(giver-1))
				view.Put(to, strconv.Itoa(taker+1))
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	answer, err := client.Get(ctx, "/accounts/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	sum := 0
	for _, kv := range answer.Kvs {
		amount, _ := strconv.Atoi(string(kv.Value))
		sum += amount
	}
	if sum != accounts*each {
		return fmt.Errorf("the accounts hold %d", sum)
	}
	return nil
}
