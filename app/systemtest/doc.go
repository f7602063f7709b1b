// Package systemtest drives the whole of Accord over its HTTP contract and the sandbox's control contract: real
// Postgres, real Temporal, the real adapters against the emulated vendors. It holds tests only.
package systemtest
