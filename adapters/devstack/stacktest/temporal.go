package stacktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"accord/adapters/devstack"
)

// temporalServer is the server that the tests of this process share.
type temporalServer struct {
	address string
	client  client.Client
	given   bool // it was there before us, so what we make in it has to be removed
}

var theTemporal = sync.OnceValues(startTemporal)

// Temporal gives the address of a Temporal server. Its namespace `default` is shared by the tests of the process.
func Temporal(tb testing.TB) (address string) {
	tb.Helper()
	server, err := theTemporal()
	if err != nil {
		tb.Fatalf("stacktest: %v", err)
	}
	return server.address
}

// TemporalNamespace gives the address of a Temporal server and a new namespace in it, which can be used at once.
func TemporalNamespace(tb testing.TB) (address, namespace string) {
	tb.Helper()
	server, err := theTemporal()
	if err != nil {
		tb.Fatalf("stacktest: %v", err)
	}
	namespace = unique("test")
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	if err := server.register(ctx, namespace); err != nil {
		tb.Fatalf("stacktest: make a namespace: %v", err)
	}
	if server.given {
		tb.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if _, err := server.client.OperatorService().DeleteNamespace(ctx, &operatorservice.DeleteNamespaceRequest{Namespace: namespace}); err != nil {
				tb.Errorf("stacktest: remove the test's namespace: %v", err)
			}
		})
	}
	return server.address, namespace
}

// register makes a namespace and waits until every part of the server knows it: the list of workflows is the last.
func (s *temporalServer) register(ctx context.Context, namespace string) error {
	service := s.client.WorkflowService()
	_, err := service.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := service.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: namespace, PageSize: 1})
		var unknown *serviceerror.NamespaceNotFound
		if !errors.As(err, &unknown) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func startTemporal() (*temporalServer, error) {
	if address := os.Getenv("ACCORD_TEST_TEMPORAL_ADDRESS"); address != "" {
		server, err := dial(address)
		if err != nil {
			return nil, fmt.Errorf("ACCORD_TEST_TEMPORAL_ADDRESS: %w", err)
		}
		server.given = true
		return server, nil
	}
	bin, err := binDir()
	if err != nil {
		return nil, err
	}
	// Long enough to build the CLI on a slow machine.
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	quietUnlessSlow := func(message string) {
		if _, err := os.Stat(bin + "/temporal"); err != nil {
			progress(message)
		}
	}
	server, err := devstack.StartTemporal(ctx, devstack.TemporalOptions{BinDir: bin, Progress: quietUnlessSlow})
	if err != nil {
		return nil, err
	}
	atEnd(server.Stop)
	return dial(server.Address())
}

func dial(address string) (*temporalServer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := client.DialContext(ctx, client.Options{HostPort: address})
	if err != nil {
		return nil, err
	}
	atEnd(func(context.Context) error { c.Close(); return nil })
	return &temporalServer{address: address, client: c}, nil
}
