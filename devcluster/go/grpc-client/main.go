// grpc-client checks a server's health again and again, over many connections at once, and says as JSON on standard
// output what its callers saw: {"OK": 19999, "Unavailable: …": 1}. It calls as programs do that use gRPC in Go, so what
// the library tries again by itself is no failure. (ghz counts the first try of such a call.)
//
//	grpc-client -address 127.0.0.1:8500 -calls 20000 -connections 20 -each 2
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func main() {
	address := flag.String("address", "", "host:port of the server")
	calls := flag.Int64("calls", 1000, "in all")
	connections := flag.Int("connections", 1, "each with a channel of its own")
	each := flag.Int("each", 1, "calls at the same time on one connection")
	flag.Parse()

	var left atomic.Int64
	left.Store(*calls)
	seen := map[string]int{}
	var lock sync.Mutex
	var workers sync.WaitGroup
	for range *connections {
		channel, err := grpc.NewClient("passthrough:///"+*address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			log.Fatal(err)
		}
		defer channel.Close()
		for range *each {
			workers.Go(func() {
				for left.Add(-1) >= 0 {
					outcome := check(channel)
					lock.Lock()
					seen[outcome]++
					lock.Unlock()
				}
			})
		}
	}
	workers.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		log.Fatal(err)
	}
}

func check(channel *grpc.ClientConn) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	answer, err := grpc_health_v1.NewHealthClient(channel).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return status.Code(err).String() + ": " + status.Convert(err).Message()
	}
	if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return answer.Status.String()
	}
	return "OK"
}
