// Real clients of etcd's own making, against the embedded store or a real etcd:
//
//	clients recipes ENDPOINT               mutex, election and software transactional memory
//	clients linearize ENDPOINT SECONDS     reads, writes and comparisons, checked by porcupine
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(words []string) error {
	switch {
	case len(words) == 2 && words[0] == "recipes":
		return recipes(words[1])
	case len(words) == 3 && words[0] == "linearize":
		seconds, err := strconv.Atoi(words[2])
		if err != nil {
			return err
		}
		return linearize(words[1], time.Duration(seconds)*time.Second)
	}
	return fmt.Errorf("usage: clients recipes ENDPOINT | clients linearize ENDPOINT SECONDS")
}

func connect(endpoint string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:   []string{endpoint},
		DialTimeout: 5 * time.Second,
		// A killed server is part of the test.
		Logger: zap.NewNop(),
	})
}
