// Package inbox is the in-app inbox: messages with their audience, expiry and links, what each viewer did with them, the
// order in which a feed shows them, and the versions by which a client knows what it has. Nothing here does I/O or reads
// the clock; times have microseconds, which is what the database keeps.
package inbox
