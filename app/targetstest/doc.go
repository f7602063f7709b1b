// Package targetstest proves, against the emulated vendors, that every target system keeps the promises of its port
// through the real outbound policy, that both feeds of the engagement platform are read as they are, and that each way a
// vendor can fail is classified as the policy says. It holds tests only: adapters never import each other, not even in
// theirs.
package targetstest
