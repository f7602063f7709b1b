package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// waysBetween are the ways from the APIs and the workers to the servers. Each can be cut and slowed down.
type waysBetween struct {
	mu      sync.Mutex
	proxies map[string]*toxiproxy.Proxy // by "api>postgres"
}

// linkNames in a fixed order, as what is drawn from a seed has to be.
var linkNames = []string{"api>postgres", "api>temporal", "api>sandbox", "worker>postgres", "worker>temporal", "worker>sandbox"}

func newLinks(servers map[string]string) (*waysBetween, error) {
	l := &waysBetween{proxies: map[string]*toxiproxy.Proxy{}}
	owner := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	for _, name := range linkNames {
		_, to, _ := strings.Cut(name, ">")
		p := toxiproxy.NewProxy(owner, name, "127.0.0.1:0", servers[to])
		if err := p.Start(); err != nil {
			return nil, fmt.Errorf("proxy %s: %w", name, err)
		}
		l.proxies[name] = p
	}
	return l, nil
}

func (l *waysBetween) address(from, to string) string { return l.proxies[from+">"+to].Listen }

// cut closes every connection and takes no new one until heal or mend.
func (l *waysBetween) cut(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxies[name].Stop()
}

// mend takes connections again.
func (l *waysBetween) mend(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range 50 { // somebody may have the port for a moment
		if err := l.proxies[name].Start(); err == nil || err == toxiproxy.ErrProxyAlreadyStarted { //nolint:errorlint // it is returned as it is
			return
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // nothing tells when a port is free
	}
	say("the link %s could not be mended", name)
}

// slow delays what comes back on the link.
func (l *waysBetween) slow(name string, latency, jitter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.proxies[name].Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(
		`{"name":"slow","type":"latency","stream":"downstream","toxicity":1,"attributes":{"latency":%d,"jitter":%d}}`,
		latency.Milliseconds(), jitter.Milliseconds())))
	if err != nil {
		say("the link %s could not be slowed down: %v", name, err)
	}
}

// quicken ends the delay, also when time is up.
func (l *waysBetween) quicken(ctx context.Context, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	l.proxies[name].Toxics.ResetToxics(ctx)
}

func (l *waysBetween) heal(ctx context.Context) {
	for _, name := range linkNames {
		l.mend(name)
		l.quicken(ctx, name)
	}
}

func (l *waysBetween) close() {
	for _, p := range l.proxies {
		p.Stop()
	}
}
