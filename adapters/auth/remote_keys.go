package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"

	"accord/domain/fault"
)

const (
	refreshEvery  = 15 * time.Minute
	retryEvery    = 30 * time.Second
	refetchAtMost = 10 * time.Second // for keys nobody has seen: a rotation is found soon, made-up ids cost the issuer little
	fetchTimeout  = 5 * time.Second
	maxKeySet     = 1 << 20
)

// RemoteKeys are an issuer's published keys (a JWKS), cached. While the issuer cannot be reached the last good keys go
// on being used. Safe for concurrent use.
type RemoteKeys struct {
	url    string
	client *http.Client
	log    *slog.Logger
	now    func() time.Time

	generation atomic.Uint64

	mu       sync.Mutex
	keys     jwk.Set // nil until the first success
	sum      [sha256.Size]byte
	lastErr  error // of the latest fetch
	lastTry  time.Time
	inflight chan struct{} // closed when the fetch under way ends, nil when there is none
}

// NewRemoteKeys reads keys from a URL: https, or http on a loopback address. Nothing is fetched before the first use or
// Run.
func NewRemoteKeys(address string, log *slog.Logger) (*RemoteKeys, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("the address of the keys is not a URL")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, errors.New("the address of the keys must be https: whoever can change them can sign in as anybody")
	}
	client := &http.Client{
		Timeout:       fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &RemoteKeys{url: address, client: client, log: log, now: time.Now}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Run keeps the keys fresh until ctx ends.
func (k *RemoteKeys) Run(ctx context.Context) {
	for {
		pause := refreshEvery
		if err := k.refresh(ctx); err != nil {
			pause = retryEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// Key finds a key by its id and looks for new keys when there is none. See KeySource.
func (k *RemoteKeys) Key(ctx context.Context, id string) (jwk.Key, error) {
	if key, ok := k.lookup(id); ok {
		return key, nil
	}
	if k.mayRefetch() {
		if err := k.refresh(ctx); ctx.Err() != nil {
			return nil, fmt.Errorf("wait for the issuer's keys: %w", err)
		}
	}
	if key, ok := k.lookup(id); ok {
		return key, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	// While the issuer is down a key we don't know may well be one of its new ones: that is no reason to sign people out.
	if k.lastErr != nil || k.keys == nil {
		return nil, fault.New(fault.Unavailable, "unavailable", "tokens cannot be checked now")
	}
	return nil, fault.New(fault.NotFound, "not-found", "no such key")
}

func (k *RemoteKeys) lookup(id string) (jwk.Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		return nil, false
	}
	return k.keys.LookupKeyID(id)
}

func (k *RemoteKeys) mayRefetch() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.inflight != nil || k.lastTry.IsZero() || k.now().Sub(k.lastTry) >= refetchAtMost
}

// refresh fetches once for everybody who asks meanwhile. The fetch outlives the request that began it, so that one
// caller who hangs up does not fail the others.
func (k *RemoteKeys) refresh(ctx context.Context) error {
	k.mu.Lock()
	done := k.inflight
	if done == nil {
		done = make(chan struct{})
		k.inflight, k.lastTry = done, k.now()
		go k.fetchOnce(context.WithoutCancel(ctx), done)
	}
	k.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lastErr
}

func (k *RemoteKeys) fetchOnce(ctx context.Context, done chan struct{}) {
	keys, sum, err := k.fetch(ctx)
	if err != nil {
		k.log.Warn("fetching the token issuer's keys failed; the last good ones stay in use", "error", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.keys = keys
		if sum != k.sum {
			k.sum = sum
			k.generation.Add(1)
		}
	}
	k.lastErr, k.inflight = err, nil
	close(done)
}

// fetch answers with the keys, and a sum that tells one publication from another.
func (k *RemoteKeys) fetch(ctx context.Context) (keys jwk.Set, sum [sha256.Size]byte, err error) {
	body, err := k.download(ctx)
	if err != nil {
		return nil, sum, err
	}
	keys, err = readKeys(body)
	return keys, sha256.Sum256(body), err
}

// readKeys reads what an issuer publishes. It may have keys of kinds we don't know (RFC 7517, section 5); the others count.
func readKeys(body []byte) (jwk.Set, error) {
	keys, err := jwk.Parse(body, jwk.WithStrictKeySetParsing(false))
	if err != nil {
		return nil, fmt.Errorf("parse keys: %w", err)
	}
	if keys.Len() == 0 {
		return nil, errors.New("parse keys: there are none")
	}
	return keys, nil
}

func (k *RemoteKeys) download(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for keys: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for keys: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for keys: the issuer answered %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxKeySet+1))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(body) > maxKeySet {
		return nil, errors.New("read keys: the answer is too large")
	}
	return body, nil
}

// Generation grows with every fetch that brings other keys. See KeyGeneration.
func (k *RemoteKeys) Generation() uint64 { return k.generation.Load() }

// Ready reports whether tokens can be checked: some keys were fetched at some time.
func (k *RemoteKeys) Ready(ctx context.Context) error {
	k.mu.Lock()
	have := k.keys != nil
	k.mu.Unlock()
	if have {
		return nil
	}
	return k.refresh(ctx)
}
