// Package outbound is the one policy for calling vendors over HTTP: per-call time-out, rate limit, circuit breaker,
// bounded answers, and a single place (classify.go) that decides what a failure means. It implements ports.VendorAPI.
//
// It never retries. When to try again is the workflow's decision, because only the workflow survives a crash and knows
// how much of a change's time is left; a second retry loop in here would multiply with that one.
package outbound
