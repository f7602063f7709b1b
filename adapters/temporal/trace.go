package temporal

import (
	"context"

	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
)

// interceptors carry the trace from whoever starts a run into the run, its activities and what those call. They are the
// client's, and by that its workers': given to both, each step would show twice. None while nothing is traced.
func interceptors(tracer trace.Tracer) ([]interceptor.ClientInterceptor, error) {
	if tracer == nil {
		return nil, nil
	}
	// Baggage is what callers say about themselves; it goes no further. Runs that were started before tracing, or by other
	// tools, may carry what we can't read; that must not fail them.
	traced, err := opentelemetry.NewTracingInterceptor(opentelemetry.TracerOptions{Tracer: tracer, DisableBaggage: true, AllowInvalidParentSpans: true})
	if err != nil {
		return nil, err
	}
	return []interceptor.ClientInterceptor{&tracing{traced}}, nil
}

// tracing leaves schedules out: what was in the header when a schedule was made goes into each of its runs, and they would
// all belong to one trace for ever. Without it each begins its own.
type tracing struct{ interceptor.Interceptor }

// InterceptClient implements interceptor.ClientInterceptor.
func (t *tracing) InterceptClient(next interceptor.ClientOutboundInterceptor) interceptor.ClientOutboundInterceptor {
	out := &tracedClient{untraced: next}
	out.Next = t.Interceptor.InterceptClient(next)
	return out
}

type tracedClient struct {
	interceptor.ClientOutboundInterceptorBase
	untraced interceptor.ClientOutboundInterceptor
}

// CreateSchedule implements interceptor.ClientOutboundInterceptor.
func (c *tracedClient) CreateSchedule(ctx context.Context, in *interceptor.ScheduleClientCreateInput) (client.ScheduleHandle, error) {
	return c.untraced.CreateSchedule(ctx, in)
}

// apart begins a trace of its own, linked to the one that ctx is in: a sweep looks at many customers, whose changes have
// nothing to do with each other.
func (c *Connection) apart(ctx context.Context) (context.Context, func()) {
	if c.cfg.Tracer == nil || !c.restarts {
		return ctx, func() {}
	}
	ctx, span := c.cfg.Tracer.Start(ctx, "restart", trace.WithNewRoot(), trace.WithLinks(trace.LinkFromContext(ctx)))
	return ctx, func() { span.End() }
}
