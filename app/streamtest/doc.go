// Package streamtest holds a server with ten thousand open streams against what was promised of it: memory, goroutines
// and time. The server is a process of its own, so that nothing but the server is measured.
package streamtest
