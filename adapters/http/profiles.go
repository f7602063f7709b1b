package httpapi

import (
	"net/http"
	"net/http/pprof"
)

// NewProfiles builds the handler of Go's profiles under /debug/pprof. They tell what a process does, down to its arguments,
// and taking one slows it down: it is to be served where nobody but who runs the process gets to.
func NewProfiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
