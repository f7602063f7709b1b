// Package rulescheck judges docs/operations with Prometheus' own parser and engine: every expression of alerts and dashboard
// is valid there, and each alert fires and keeps quiet on made-up series as cases.yaml says. It is a module of its own
// because of what Prometheus depends on.
package rulescheck
