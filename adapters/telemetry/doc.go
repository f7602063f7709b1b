// Package telemetry is what of tracing and logging is the same for every part: where traces are sent, and the ids by which
// a log line finds its trace. Spans are made by the adapters, each with the tracer it is given; with tracing off they are
// given none, and do nothing.
package telemetry
