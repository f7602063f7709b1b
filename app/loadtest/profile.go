package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"
	"golang.org/x/sync/errgroup"
)

// profileOf is where the processor time of one process went, each as a share of 1.
type profileOf struct {
	total     time.Duration
	behalf    []share // by what asked for it
	work      []share // by what the processor did
	functions []share // single functions, with cumulative shares as well
}

type share struct {
	name      string
	own       float64
	inclusive float64 // for functions: with what they call
}

// profile takes one of every API and worker for as long as a window, and sums up what is of a kind.
func (s *system) profile(ctx context.Context, window time.Duration) (map[string]*profileOf, error) {
	taken := make([]*profile.Profile, len(s.parts))
	work, ctx := errgroup.WithContext(ctx)
	for i, p := range s.parts {
		if p.profiles == "" {
			continue
		}
		work.Go(func() (err error) {
			taken[i], err = takeProfile(ctx, p.profiles, window)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	of := map[string][]*profile.Profile{}
	for i, p := range s.parts {
		if taken[i] != nil {
			of[p.kind] = append(of[p.kind], taken[i])
		}
	}
	out := map[string]*profileOf{}
	for kind, all := range of {
		merged, err := profile.Merge(all)
		if err != nil {
			return nil, err
		}
		out[kind] = summarise(merged)
	}
	return out, nil
}

func takeProfile(ctx context.Context, base string, window time.Duration) (*profile.Profile, error) {
	url := fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", base, max(1, int(window.Seconds())))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := (&http.Client{Timeout: window + 30*time.Second}).Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d", url, res.StatusCode)
	}
	return profile.Parse(res.Body)
}

// summarise reads a processor profile three ways. Samples say how long something ran in their last value.
func summarise(p *profile.Profile) *profileOf {
	behalf, work, own, inclusive := map[string]int64{}, map[string]int64{}, map[string]int64{}, map[string]int64{}
	var total int64
	for _, sample := range p.Sample {
		stack := functions(sample) // the leaf first
		if len(stack) == 0 {
			continue
		}
		took := sample.Value[len(sample.Value)-1]
		total += took
		behalf[askedBy(stack)] += took
		work[doing(stack[0])] += took
		own[stack[0]] += took
		seen := map[string]bool{}
		for _, f := range stack {
			if !seen[f] {
				seen[f] = true
				inclusive[f] += took
			}
		}
	}
	out := &profileOf{total: time.Duration(total)}
	if total == 0 {
		return out
	}
	out.behalf, out.work, out.functions = ranked(behalf, total), ranked(work, total), ranked(own, total)
	for i, f := range out.functions {
		out.functions[i].inclusive = float64(inclusive[f.name]) / float64(total)
	}
	return out
}

// functions of a sample's stack, inlined ones included.
func functions(s *profile.Sample) (out []string) {
	for _, location := range s.Location {
		for _, line := range location.Line {
			if line.Function != nil {
				out = append(out, line.Function.Name)
			}
		}
	}
	return out
}

func ranked(of map[string]int64, total int64) (out []share) {
	for name, took := range of {
		out = append(out, share{name: name, own: float64(took) / float64(total)})
	}
	slices.SortFunc(out, func(a, b share) int {
		return cmp.Or(cmp.Compare(b.own, a.own), cmp.Compare(a.name, b.name))
	})
	return out
}

// packageOf is the import path in a function's full name, such as "accord/adapters/http.(*server).GetInbox".
func packageOf(function string) string {
	slash := strings.LastIndexByte(function, '/')
	path, _, _ := strings.Cut(function[slash+1:], ".")
	return function[:slash+1] + path
}

// askedBy is the package of this module that was nearest to the work. Where there is none in the stack, it is the library or the part
// of the runtime that runs it by itself.
func askedBy(stack []string) string {
	for _, f := range stack {
		if p := packageOf(f); strings.HasPrefix(p, "accord/") {
			return strings.TrimPrefix(p, "accord/")
		}
	}
	for _, f := range stack {
		switch {
		case strings.HasPrefix(f, "runtime.gcBgMarkWorker"), strings.HasPrefix(f, "runtime.bgsweep"), strings.HasPrefix(f, "runtime.bgscavenge"):
			return "garbage collection"
		case f == "runtime.mcall", f == "runtime.mstart", f == "runtime.schedule", f == "runtime.sysmon":
			return "Go's scheduler"
		}
	}
	for _, of := range libraries {
		for _, f := range slices.Backward(stack) { // from the outside
			if strings.HasPrefix(f, of.prefix) {
				return of.name
			}
		}
	}
	return "others"
}

// libraries that run goroutines of their own.
var libraries = []struct{ prefix, name string }{
	{"go.temporal.io/sdk", "Temporal's library"}, {"google.golang.org/grpc", "gRPC"}, {"net/http", "net/http"},
	{"database/sql", "database/sql"}, {"github.com/jackc", "pgx"}, {"runtime", "Go's runtime"},
}

// kinds of work, by the beginning of the function's name. The first that fits counts.
var kinds = []struct{ prefix, name string }{
	{"internal/runtime/syscall", "system calls"}, {"syscall.", "system calls"}, {"runtime/internal/syscall", "system calls"},
	{"runtime.futex", "Go's scheduler"}, {"runtime.epoll", "Go's scheduler"}, {"runtime.netpoll", "Go's scheduler"}, {"runtime.findRunnable", "Go's scheduler"},
	{"runtime.schedule", "Go's scheduler"}, {"runtime.lock", "Go's scheduler"}, {"runtime.unlock", "Go's scheduler"}, {"runtime.usleep", "Go's scheduler"},
	{"runtime.procyield", "Go's scheduler"}, {"runtime.osyield", "Go's scheduler"}, {"runtime.stealWork", "Go's scheduler"}, {"runtime.runq", "Go's scheduler"},
	{"runtime.gc", "garbage collection"}, {"runtime.scan", "garbage collection"}, {"runtime.greyobject", "garbage collection"}, {"runtime.tryDeferToSpan", "garbage collection"},
	{"runtime.(*gcWork", "garbage collection"}, {"runtime.(*gcBits", "garbage collection"}, {"runtime.(*sweep", "garbage collection"}, {"runtime.(*mspan", "garbage collection"},
	{"runtime.findObject", "garbage collection"}, {"runtime.mark", "garbage collection"}, {"runtime.wbBuf", "garbage collection"}, {"runtime.bulkBarrier", "garbage collection"},
	{"runtime.malloc", "allocation"}, {"runtime.newobject", "allocation"}, {"runtime.makeslice", "allocation"}, {"runtime.growslice", "allocation"}, {"runtime.nextFree", "allocation"},
	{"runtime.(*mcache", "allocation"}, {"runtime.(*mcentral", "allocation"}, {"runtime.(*mheap", "allocation"}, {"runtime.memclr", "allocation"}, {"runtime.heapSetType", "allocation"},
	{"runtime.memmove", "copying"}, {"runtime.map", "maps"}, {"internal/runtime/maps", "maps"}, {"runtime.", "Go's runtime, the rest"}, {"internal/runtime", "Go's runtime, the rest"},
	{"crypto/", "cryptography"}, {"vendor/golang.org/x/crypto", "cryptography"}, {"golang.org/x/crypto", "cryptography"}, {"math/big", "cryptography"},
	{"encoding/json", "JSON"}, {"github.com/bytedance/sonic", "JSON"}, {"github.com/goccy/go-json", "JSON"}, {"google.golang.org/protobuf", "protobuf"},
	{"google.golang.org/grpc", "gRPC"}, {"golang.org/x/net/http2", "gRPC"}, {"go.temporal.io", "Temporal's library"}, {"net/http", "net/http"}, {"net/textproto", "net/http"},
	{"github.com/gin-gonic", "Gin"}, {"github.com/jackc", "pgx"}, {"gorm.io", "GORM"}, {"database/sql", "database/sql"}, {"reflect", "reflection"},
	{"github.com/prometheus", "measures"}, {"go.opentelemetry.io", "measures and traces"}, {"log/slog", "log"}, {"accord/", "Accord's own code"},
}

// doing is the kind of work that a function is.
func doing(function string) string {
	for _, k := range kinds {
		if strings.HasPrefix(function, k.prefix) {
			return k.name
		}
	}
	return "the rest"
}

// top are the largest, with what they leave out as the last.
func top(of []share, n int) []share {
	if len(of) <= n {
		return of
	}
	rest := share{name: "all others"}
	for _, one := range of[n:] {
		rest.own += one.own
	}
	return append(slices.Clone(of[:n]), rest)
}

// kindsOf are the kinds of processes profiled, in the order in which they are told.
func kindsOf(profiles map[string]*profileOf) []string { return slices.Sorted(maps.Keys(profiles)) }
